"""Plain loops that count what workloads counts in closed form; shares no code with the package."""


def visible_macs(m, n, k, batch, causal, rows_per_token, visible_before):
    """Count multiply-accumulates entry by entry under a causal mask."""
    total = 0
    for _ in range(batch):
        for row in range(m):
            last_seen = visible_before + row // rows_per_token
            for column in range(n):
                for depth in range(k):
                    place = {"n": column, "k": depth, None: -1}[causal]
                    total += place <= last_seen
    return total


def output_length(size, kernel, stride, padding, dilation):
    """Count the positions at which a dilated filter fits into a padded row."""
    places, start = 0, 0
    while start + dilation * (kernel - 1) < size + 2 * padding:
        places += 1
        start += stride
    return places


def convolution_macs(channels, outputs, out_high, out_wide, high, wide, groups):
    """Count multiply-accumulates of a convolution output by output."""
    total = 0
    for _ in range(outputs):
        for _ in range(out_high * out_wide):
            total += channels // groups * high * wide
    return total
