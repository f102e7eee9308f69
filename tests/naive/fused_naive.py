"""Fused chains, block by block: every row is looked at, every job is listed with what it waits for.

The schedule and the amounts as `bitlathe.mapping.fused` words them, written down anew: three
machines that take their jobs in a given order, each when the machine is free and all that the job
waits for has ended.
"""

from math import ceil

SOFTMAX = {
    # of an element, of a row: (additions, multiplications, special functions)
    "alone": ((3, 1, 1), (0, 0, 1)),
    "first": ((3, 0, 1), (0, 0, 0)),
    "later": ((3, 0, 1), (3, 1, 1)),
    "carry": ((1, 1, 0), (0, 0, 0)),
    "finish": ((0, 1, 0), (0, 0, 1)),
    "state": 2,
}


def sees(mask, row, column):
    """Whether a row sees a column; mask: (rows of a token, columns before, window or None)."""
    if mask is None:
        return True
    per_token, before, window = mask
    own = before + row // per_token
    return column <= own and (window is None or column > own - window)


def blocks(chain, rows, columns):
    """Return for each block of rows that sees something (rows, sizes of the blocks it takes)."""
    found = []
    for top in range(0, chain["m"], rows):
        these = range(top, min(top + rows, chain["m"]))
        seen = [c for c in range(chain["middle"]) if any(sees(chain["mask"], r, c) for r in these)]
        taken = sorted({c // columns for c in seen})
        if taken:
            sizes = [(j, min(columns, chain["middle"] - j * columns)) for j in taken]
            found.append((len(these), sizes))
    return found


def chunks(elements, bits, width, burst):
    """Return the clocks, an access each, of some elements: whole bursts where there are some."""
    moved = elements * bits
    if burst is not None:
        moved = ceil(moved / burst) * burst
    return ceil(moved / width)


class Machine:
    """What a chain asks: jobs in the order of each machine, accesses, bits."""

    def __init__(self, chain, tiling, chip, lanes, product):
        self.chain, self.tiling, self.chip, self.lanes = chain, tiling, chip, lanes
        self.product = product
        self.orders = {"port": [], "array": [], "unit": []}
        self.clocks, self.waits = {}, {}
        self.reads, self.writes, self.busy = {}, {}, {}
        self.bits = {"weight": 0, "input": 0, "output": 0}
        self.lane_clocks = self.steps = 0
        self.pj = {"array": 0.0, "vector": 0.0, "memories": 0.0, "dram": 0.0}

    def access(self, way, operand, elements, bits, used):
        """Count what passes a near memory's port; add it to the ports that a job uses."""
        port, width, burst, pj = self.chip["near"][operand][way]
        count = chunks(elements, bits, width, burst)
        where = self.reads if way == "read" else self.writes
        where[port] = where.get(port, 0) + count
        self.busy[port] = self.busy.get(port, 0) + count
        used[port] = used.get(port, 0) + count
        self.pj["memories"] += count * pj

    def outer(self, way, operand, elements, bits):
        port, width, burst, pj = self.chip["outer"][operand][way]
        count = chunks(elements, bits, width, burst)
        where = self.reads if way == "read" else self.writes
        where[port] = where.get(port, 0) + count
        self.busy[port] = self.busy.get(port, 0) + count
        self.bits[operand] += elements * bits
        self.pj["dram"] += count * pj
        return count

    def load(self, parts):
        """Return the clocks of what comes from outside: (operand, elements, bits)."""
        used, total = {}, 0
        for operand, elements, bits in parts:
            total += self.outer("read", operand, elements, bits)
            self.access("write", operand, elements, bits, used)
        return max([total, *used.values()])

    def leave(self, elements, bits):
        used = {}
        total = self.outer("write", "output", elements, bits)
        self.access("read", "output", elements, bits, used)
        return max([total, *used.values()])

    def unit(self, work, used):
        adds, multiplies, specials = work
        lanes = self.lanes
        clocks = ceil((adds + multiplies + specials * lanes["special_cycles"]) / lanes["lanes"])
        self.lane_clocks += clocks
        self.pj["vector"] += (
            adds * lanes["add_pj"]
            + multiplies * lanes["multiply_pj"]
            + specials * lanes["special_pj"]
        )
        return max([clocks, *used.values()])

    def run_product(self, asked):
        cycles, steps, accesses, array_pj, memory_pj = self.product(*asked)
        self.steps += steps
        for port, (reads, writes, busy) in accesses.items():
            self.reads[port] = self.reads.get(port, 0) + reads
            self.writes[port] = self.writes.get(port, 0) + writes
            self.busy[port] = self.busy.get(port, 0) + busy
        self.pj["array"] += array_pj
        self.pj["memories"] += memory_pj
        return cycles

    def job(self, machine, name, clocks, waits):
        self.clocks[name], self.waits[name] = clocks, waits
        self.orders[machine].append(name)


def times(counts, elements, rows):
    element, row = counts
    return [element[i] * elements + row[i] * rows for i in range(3)]


def plus(*works):
    return [sum(each) for each in zip(*works, strict=True)]


def one_run(chain, tiling, chip, lanes, product, instances):
    """Return a machine with all jobs of some instances, one after another."""
    machine = Machine(chain, tiling, chip, lanes, product)
    steps, places, spilled = chain["steps"], tiling["places"], tiling["spilled"]
    ahead = 1 if tiling["ahead"] else 0
    sums = chain["partial"]
    cut = blocks(chain, min(tiling["rows"], chain["m"]), min(tiling["columns"], chain["middle"]))
    uses, row_ends = [], []
    for _ in range(instances):
        there, these = set(), []
        for top, (rows, sizes) in enumerate(cut):
            for number, (j, columns) in enumerate(sizes):
                first, last = number == 0, number == len(sizes) - 1
                these.append((top, j, rows, columns, first, last))
        if spilled:
            these.sort(key=lambda use: (use[1], use[0]))
        for _, j, rows, columns, first, last in these:
            comes = j not in there or not (tiling["held"] or spilled)
            there.add(j)
            uses.append((rows, columns, first, last, comes))
    latency = chip["latency"]
    for u, (rows, columns, first, last, comes) in enumerate(uses):
        parts = []
        if first or spilled:
            parts.append(("input", rows * chain["inner"], chain["first"]["input"]))
        if comes:
            each = ("weight", columns * chain["inner"], chain["first"]["weight"])
            parts += [each] * chain["matrices"]
        machine.job("port", ("load", u), machine.load(parts), [("first", u - places)])
        second = [("weight", columns * chain["out"], chain["second"]["weight"])] if comes else []
        if spilled and not first:
            second.append(("output", rows * chain["out"], sums))
        machine.job("port", ("more", u), machine.load(second), [("second", u - places)])
        alone = first and last
        clocks = sum(
            machine.run_product((False, rows, columns, True)) for _ in range(chain["matrices"])
        )
        waits = [("load", u, latency if parts else None)]
        machine.job("array", ("first", u), clocks, waits + ([] if ahead else [("added", u - 1)]))
        used, elements = {}, rows * columns
        for _ in range(chain["matrices"]):
            machine.access("read", "output", elements, chain["first"]["output"], used)
        machine.access("write", "input", elements, chain["second"]["input"], used)
        if steps["state"] and not first:
            machine.access("read", "output", steps["state"] * rows, sums, used)
        if steps["state"] and not last:
            machine.access("write", "output", steps["state"] * rows, sums, used)
        place = "alone" if alone else "first" if first else "later"
        work = times(steps[place], elements, rows)
        if chain["quantize"]:
            groups = rows * ceil(columns / (chain["group"] or columns))
            work = plus(work, times(chain["quantize"], elements, groups))
        machine.job("unit", ("steps", u), machine.unit(work, used), [("first", u)])
        waits = [("steps", u), ("more", u, latency if second else None)]
        if last or spilled:
            waits.append(("results", len(row_ends) - places))
        clocks = machine.run_product((True, rows, columns, alone))
        machine.job("array", ("second", u), clocks, waits)
        used, work, elements = {}, [0, 0, 0], rows * chain["out"]
        if not first:
            for _ in range(2):
                machine.access("read", "output", elements, sums, used)
            work = times(steps["carry"], elements, rows)
            if last:
                work = plus(work, times(steps["finish"], elements, rows))
            machine.access(
                "write", "output", elements, chain["second"]["output"] if last else sums, used
            )
        machine.job("unit", ("added", u), machine.unit(work, used), [("second", u)])
        if last or spilled:
            row_ends.append(u)
            clocks = machine.leave(elements, chain["second"]["output"] if last else sums)
            machine.job("port", ("store", u), clocks, [("added", u)])
    machine.row_ends = row_ends
    order(machine, len(uses), places, ahead, spilled)
    return machine


def order(machine, count, places, ahead, spilled):
    """Sort the jobs of each machine as the schedule says."""
    port, array, unit = [], [], []
    for u in range(count + ahead + places):
        between = [("more", u - ahead), ("store", u - ahead - places)]
        port += [("load", u), *(reversed(between) if spilled else between)]
        array += [("first", u), ("second", u - ahead)]
        unit += [("steps", u), ("added", u - ahead)]
    for name, jobs in (("port", port), ("array", array), ("unit", unit)):
        ordered = [job for job in jobs if job in machine.clocks]
        assert sorted(ordered) == sorted(machine.orders[name])
        machine.orders[name] = ordered


def play(machine):
    """Return when the last job ends: each machine takes its next job as soon as it may."""
    ends, free = {}, dict.fromkeys(machine.orders, 0)
    machine.idle = 0
    left = {name: list(jobs) for name, jobs in machine.orders.items()}
    while any(left.values()):
        moved = False
        for name, jobs in left.items():
            while jobs:
                begin = may_begin(machine, jobs[0], ends)
                if begin is None:
                    break
                job = jobs.pop(0)
                moved = True
                clocks = machine.clocks[job]
                # a load of nothing, and nothing to add, hold up nobody
                start = max(free[name], begin) if clocks else begin
                if name == "array":
                    machine.idle += start - free[name]
                ends[job] = start + clocks
                if clocks:
                    free[name] = ends[job]
        assert moved, "the schedule waits for itself"
    machine.idle += max(ends.values()) - free["array"]
    return max(ends.values())


def may_begin(machine, job, ends):
    """Return when all that a job waits for has ended; None where something has not."""
    begin = 0
    for kind, number, *late in machine.waits[job]:
        if number < 0 or late == [None]:
            continue
        other = (kind, number)
        if kind == "results":  # of a block of rows, by its number
            other = ("store", machine.row_ends[number])
        if other not in ends:
            return None
        begin = max(begin, ends[other] + (late[0] if late else 0))
    return begin


def run(chain, tiling, chip, lanes, product):
    """Return cycles and the machine of all instances: their figures are those of all."""
    count = chain["instances"]
    if tiling["held"] == 1:
        alone = one_run(chain, tiling, chip, lanes, product, 1)
        cycles, idle = play(alone) * count, alone.idle * count
        machine = one_run(chain, tiling, chip, lanes, product, count)
    else:
        machine = one_run(chain, tiling, chip, lanes, product, count)
        cycles, idle = play(machine), machine.idle
    machine.idle = idle
    return max(cycles, *machine.busy.values()), machine
