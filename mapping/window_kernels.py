"""Blocks of a convolution's input at the border, which no memory stores, compiled.

A *block* has behind its extents the first pixel of each window, negative ahead of the image. What
it has of the border is one number, its *clip*: 0 for none; the border pixels ahead of the image;
or, where there are none of those, the pixels behind the image and as many as lie ahead of the
layer's.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inner

# columns of windows: its dimensions, pixels from output to output and from tap to tap, stored
# pixels, border pixels ahead of all and behind all; outputs that may read nothing through the tap
# that loses fewest; whether the last outputs, and the last taps, read no more than their share
OUTS, TAPS, STRIDE, DILATION, STORED, AHEAD, BEHIND, LOST, EVEN_OUT, EVEN_TAP = range(10)
WINDOW_COLUMNS = 10


@inner
def span_of(w, outputs, taps, windows):
    """Return the pixels from the first to the last of a block, the border included."""
    return (outputs - 1) * windows[w, STRIDE] + (taps - 1) * windows[w, DILATION] + 1


@inner
def clip_of(w, low, outputs, taps, windows):
    """Return the clip of a block whose first pixel is ``low``."""
    if low < 0:
        return -low
    above = low + span_of(w, outputs, taps, windows) - windows[w, STORED]
    return windows[w, AHEAD] + above if above > 0 else 0


@inner
def clip_at(w, block, many, windows):
    """Return the clip of a block of ``many`` dimensions in a window."""
    outputs, taps = block[windows[w, OUTS]], block[windows[w, TAPS]]
    return clip_of(w, block[many + w], outputs, taps, windows)


@inner
def to_first(block, many, windows):
    """Set the first pixels of a block to those of the layer's first."""
    for w in range(windows.shape[0]):
        block[many + w] = -windows[w, AHEAD]


@inner
def border_along(d, block, many, windows):
    """Return the window that a dimension slides in, if the block reaches its border; else -1."""
    for w in range(windows.shape[0]):
        if (windows[w, OUTS] == d or windows[w, TAPS] == d) and clip_at(w, block, many, windows):
            return w
    return -1


@inner
def differ(i, cut, block, many, nest, windows):
    """Whether loops from ``i`` to the cut make blocks that have more and less of the border."""
    dims, tiles, _ = nest
    for j in range(i, cut):
        d = dims[j]
        if tiles[j] < block[d] and border_along(d, block, many, windows) >= 0:
            return True
    return False


@inner
def pace_of(w, d, windows):
    """Return the pixels that a window moves on by with an output, or a tap."""
    return windows[w, STRIDE] if windows[w, OUTS] == d else windows[w, DILATION]


@inner
def inside_in_a_row(w, first, move, most, outputs, taps, windows):
    """Return how many blocks in a row, ``move`` pixels apart, are like the first: without border.

    At least that one, and at most ``most``.
    """
    if clip_of(w, first, outputs, taps, windows):
        return 1
    left = windows[w, STORED] - span_of(w, outputs, taps, windows) - first
    return min(most, left // move + 1)


@inner
def most_pixels(w, own, depth, tile, sizes, windows, pixels):
    """Return the pixels of the copy with most, of all blocks that a tier's tiles make.

    Of the first block alone where ``depth`` is less than 0: that of the first tier but -1 - depth.
    """
    out, tap = windows[w, OUTS], windows[w, TAPS]
    row = depth if depth >= 0 else -1 - depth
    outputs, taps = min(sizes[out], tile[row, out]), min(sizes[tap], tile[row, tap])
    if depth < 0 or windows[w, AHEAD] + windows[w, BEHIND] == 0:
        clip = clip_of(w, -windows[w, AHEAD], outputs, taps, windows)
        return pixels[w, own, clip, outputs, taps, 2]
    whole, most, x = pixels[w, own, 0, outputs, taps, 2], 0, 0
    while x < sizes[out]:
        outputs, y = _extent_at(x, depth, out, tile, sizes), 0
        while y < sizes[tap]:
            taps = _extent_at(y, depth, tap, tile, sizes)
            low = x * windows[w, STRIDE] + y * windows[w, DILATION] - windows[w, AHEAD]
            clip = clip_of(w, low, outputs, taps, windows)
            most = max(most, pixels[w, own, clip, outputs, taps, 2])
            if most == whole:
                return most
            y += taps
        x += outputs
    return most


@inner
def _extent_at(x, depth, d, tile, sizes):
    """Return the extent of the block of a tier that begins at an element of a dimension."""
    size = sizes[d]
    for g in range(depth + 1):
        at = x // tile[g, d] * tile[g, d]
        x, size = x - at, min(tile[g, d], size - at)
    return size


@inner
def count_clips(w, block, sizes, step_tile, windows, many, first):
    """Count the steps of a window with each clip, as large as a block; return how many there are.

    A step is whole in a dimension, or the last and short. ``many``, ``first``: by clip how many,
    and the first pixel of one of them.
    """
    out, tap = windows[w, OUTS], windows[w, TAPS]
    for clip in range(many.size):
        many[clip] = 0
    outs, taps = sizes[out] // step_tile[out], sizes[tap] // step_tile[tap]
    out_from, out_to = (0, outs) if block[out] == step_tile[out] else (outs, outs + 1)
    tap_from, tap_to = (0, taps) if block[tap] == step_tile[tap] else (taps, taps + 1)
    move = step_tile[out] * windows[w, STRIDE]
    for at_tap in range(tap_from, tap_to):
        low = at_tap * step_tile[tap] * windows[w, DILATION] - windows[w, AHEAD]
        at = out_from
        while at < out_to:
            pixel = low + at * move
            alike = inside_in_a_row(w, pixel, move, out_to - at, block[out], block[tap], windows)
            clip = clip_of(w, pixel, block[out], block[tap], windows)
            many[clip] += alike
            first[clip] = pixel
            at += alike
    return (out_to - out_from) * (tap_to - tap_from)
