"""Plain loops that count what workloads counts in closed form; shares no code with the package."""


def visible_macs(m, n, k, batch, causal, rows_per_token, visible_before, window):
    """Count multiply-accumulates entry by entry under a causal mask and a window."""
    total = 0
    for _ in range(batch):
        for row in range(m):
            position = visible_before + row // rows_per_token
            for column in range(n):
                for depth in range(k):
                    entry = {"n": column, "k": depth, None: position}[causal]
                    recent = window is None or position - entry < window
                    total += entry <= position and recent
    return total


def seen_entries(first, rows, cut, rows_per_token, visible_before, window):
    """Return the entries that some row of a block sees under a causal mask and a window."""
    return {
        entry
        for row in range(first, first + rows)
        for entry in range(cut)
        if entry <= visible_before + row // rows_per_token
        and (window is None or visible_before + row // rows_per_token - entry < window)
    }


def output_length(size, kernel, stride, padding, dilation):
    """Count the positions at which a dilated filter fits into a padded row."""
    places, start = 0, 0
    while start + dilation * (kernel - 1) < size + 2 * padding:
        places += 1
        start += stride
    return places


def touched_positions(size, kernel, stride, padding, dilation, outputs):
    """Return the positions of an image that a filter reads, tap by tap; padding is none of them."""
    return {
        (row, column)
        for out_row in range(outputs[0])
        for out_column in range(outputs[1])
        for tap_row in range(kernel[0])
        for tap_column in range(kernel[1])
        for row in [out_row * stride[0] + tap_row * dilation[0] - padding[0]]
        for column in [out_column * stride[1] + tap_column * dilation[1] - padding[1]]
        if 0 <= row < size[0] and 0 <= column < size[1]
    }


def convolution_macs(channels, outputs, out_high, out_wide, high, wide, groups):
    """Count multiply-accumulates of a convolution output by output."""
    total = 0
    for _ in range(outputs):
        for _ in range(out_high * out_wide):
            total += channels // groups * high * wide
    return total
