"""Sweeps through the simulator: the same numbers as single runs, keys that change when due."""

import csv
from dataclasses import replace

import pytest

from bitlathe.arch import load_arch, resolve
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import evaluate as sweep_evaluate
from bitlathe.reports.explore import identity, read_results, run_sweep
from bitlathe.reports.explore.evaluate import load_evaluator, solve
from bitlathe.reports.explore.identity import models_version
from bitlathe.reports.explore.points import Point
from bitlathe.reports.explore.sweepfile import Iso
from bitlathe.sim import simulate

POINT = Point(
    arch="bitmod", model="opt-1.3b", phase="decode", context=256, batch=1,
    fidelity="analytic", mapper="whole-buffer", settings=(("array.rows", 32),),
)  # fmt: skip


RULE = {"fidelity": "analytic", "mapper": "whole-buffer"}


def table(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def evaluator(tmp_path):
    return load_evaluator(["bitmod", "ant-fp16"], ["opt-1.3b", "llama-2-7b"], tmp_path)


def test_rows_equal_single_simulations(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: [bitmod, ant]\nmodels: [opt-125m, smollm2-135m]\nphases: [prefill, decode]\n"
        "contexts: [256]\nbatches: [1, 4]\naxes: {array.rows: [64]}\n"
        "schemes: {linear: [int8@channel, int4_asym@g128]}\n"
    )
    run_sweep(path, tmp_path / "out", jobs=1)
    rows = table(tmp_path / "out")
    assert len(rows) == 32
    for row in rows[::3]:
        settings = {
            "array.rows": int(row["array.rows"]),
            "formats.linear.weight": row["scheme.linear"],
        }
        run = simulate(
            load_arch(row["arch"], settings),
            row["model"],
            row["phase"],
            256,
            int(row["batch"]),
            fidelity="analytic",
        )
        assert int(row["cycles"]) == run.cycles
        assert int(row["context"]) == 256
        assert float(row["seconds"]) == run.seconds
        assert {k: float(row[f"energy_pj.{k}"]) for k in run.energy_pj} == run.energy_pj
        assert {k: float(row[f"area_um2.{k}"]) for k in run.area_um2} == run.area_um2
        traffic = sum(sum(layer.dram_bits.values()) * layer.count for layer in run.layers)
        assert int(row["dram_bits.total"]) == traffic


def test_impossible_points_are_recorded_with_the_chips_own_words(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: [bitmod, fp16]\nmodels: opt-1.3b\nphases: decode\nschemes: {linear: fp16}\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (1, 1)
    text = (tmp_path / "out" / "failures.csv").read_text()
    assert "cannot take 'fp16' as weights" in text
    assert "--set" not in text


def test_every_part_of_a_configuration_is_in_its_key(evaluator):
    others = [
        replace(POINT, arch="ant-fp16"),
        replace(POINT, model="llama-2-7b"),
        replace(POINT, phase="prefill"),
        replace(POINT, context=512),
        replace(POINT, batch=2),
        replace(POINT, settings=(("array.rows", 33),)),
        replace(POINT, settings=(("array.columns", 32),)),
        replace(POINT, settings=()),
        replace(POINT, mapper="other"),
        replace(POINT, fidelity="cycle"),
        replace(POINT, phase="prefill", causal=True),
        replace(POINT, causal=True),
        replace(POINT, fusion=False),
        replace(POINT, layers=True),
        replace(POINT, iso=Iso.model_validate({"resource": "x", "target": 1, "solve": "y"})),
    ]
    keys = [evaluator.key(point) for point in [POINT, *others]]
    assert len(set(keys)) == len(keys)
    assert evaluator.key(replace(POINT)) == keys[0]


def test_key_ignores_the_order_of_settings_and_the_words_of_a_chip(evaluator):
    two = (("array.rows", 32), ("array.columns", 8))
    assert evaluator.key(replace(POINT, settings=two)) == evaluator.key(
        replace(POINT, settings=two[::-1])
    )
    chip = evaluator.archs["bitmod"]
    renamed = chip.model_copy(update={"title": "x", "description": "y", "name": "z"})
    other = replace(evaluator, archs={"bitmod": renamed})
    assert other.key(POINT) == evaluator.key(POINT)
    wider = load_arch("bitmod", {"array.columns": 48})
    assert replace(evaluator, archs={"bitmod": wider}).key(POINT) != evaluator.key(POINT)


def test_a_changed_component_invalidates_the_points_that_use_it(evaluator, monkeypatch):
    digests = sweep_evaluate.component_digests()
    keys = {name: evaluator.key(replace(POINT, arch=name)) for name in ("bitmod", "ant-fp16")}
    other_pe = replace(POINT, settings=(("pe.component", load_arch("ant-fp16").pe.component),))
    key_other_pe = evaluator.key(other_pe)
    changed = digests | {load_arch("ant-fp16").pe.component: "changed"}
    monkeypatch.setattr(sweep_evaluate, "component_digests", lambda: changed)
    assert evaluator.key(replace(POINT, arch="bitmod")) == keys["bitmod"]
    assert evaluator.key(replace(POINT, arch="ant-fp16")) != keys["ant-fp16"]
    assert evaluator.key(other_pe) != key_other_pe


def test_changed_code_or_tables_change_the_version(tmp_path, monkeypatch):
    room = tmp_path / "sim"
    room.mkdir()
    (room / "model.py").write_text("A = 1\n")
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    monkeypatch.setattr(identity, "HERE", ())
    monkeypatch.setattr(identity, "MODEL_ROOMS", ("sim",))
    before = models_version.__wrapped__()
    assert before == models_version.__wrapped__()
    (room / "model.py").write_text("A = 2\n")
    assert models_version.__wrapped__() != before


def iso(target, **more):
    fields = {"resource": "area_um2", "target": target, "solve": "array.rows", **more}
    return Iso.model_validate(fields)


@pytest.mark.parametrize(
    ("function", "target", "whole", "expected"),
    [
        (lambda v: v * v, 50, True, 7),
        (lambda v: v * v, 49, True, 7),
        (lambda v: v, 4096, True, 4096),
        (lambda v: 100 / v, 30, True, 4),  # falling: the smallest value at or under the target
        (lambda v: v * v, 2, False, 2**0.5),
    ],
)
def test_solve_comes_closest_from_below(function, target, whole, expected):
    assert solve(function, iso(target), whole=whole) == pytest.approx(expected, rel=2e-6)


def test_solve_skips_impossible_values_and_reaches_their_edge():
    def resource(value):
        if not 5 <= value <= 700:
            raise BitlatheError("impossible")
        return value

    assert solve(resource, iso(5.5), whole=True) == 5
    assert solve(resource, iso(699.5), whole=True) == 699
    with pytest.raises(BitlatheError, match=r"runs from 5 to 700 while array\.rows goes from 5 to"):
        solve(resource, iso(701), whole=True)


def test_iso_area_holds_the_area(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-1.3b\nphases: prefill\n"
        "axes: {array.columns: [8, 16, 32]}\nschemes: {linear: [int8@channel, int4_asym@g128]}\n"
        "iso: {resource: area_um2, target: 4.0e6, solve: array.rows}\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (6, 0)
    for row in table(tmp_path / "out"):
        rows = int(row["array.rows"])
        assert float(row["area_um2.total"]) <= 4.0e6
        wider = load_arch(
            "bitmod",
            {
                "array.rows": rows + 1,
                "array.columns": int(row["array.columns"]),
                "formats.linear.weight": row["scheme.linear"],
            },
        )
        assert (
            simulate(wider, "opt-1.3b", "prefill", 256, fidelity="analytic").area_um2["total"]
            > 4.0e6
        )


@pytest.mark.parametrize(
    ("resource", "target", "axes", "solve", "low", "high"),
    [
        ("area_um2.pe_array", 1.2e6, "array.columns: [8, 24]", "array.rows", 1, 4096),
        ("energy_pj", 1.2e11, "array.columns: [16, 32]", "dram.bits_per_clock", 32, 512),
        ("dram_gb_per_s", 24.0, "technology.clock_ghz: [0.5, 1]", "dram.bits_per_clock", 8, 1024),
    ],
)
def test_area_energy_and_bandwidth_can_be_held(tmp_path, resource, target, axes, solve, low, high):
    """The solved value keeps the resource; the next one on the wrong side does not."""
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-1.3b\nphases: decode\nmapper: whole-buffer\n"
        f"axes: {{{axes}}}\n"
        f"iso: {{resource: {resource}, target: {target}, solve: {solve}, from: {low}, "
        f"to: {high}}}\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (2, 0)
    axis = axes.partition(":")[0]
    column = resource if "." in resource or resource == "dram_gb_per_s" else f"{resource}.total"
    rows = table(tmp_path / "out")
    assert len({row[solve] for row in rows}) == 2  # the other axis moves what is solved for
    for row in rows:
        value = float(row[solve])
        given = {axis: float(row[axis]) if "." in row[axis] else int(row[axis])}
        found = float(row[column])
        step = 1 if "array" in solve else value * 1e-5
        assert found <= target

        def at(solved, given=given, step=step):
            chip = load_arch("bitmod", given | {solve: int(solved) if step == 1 else solved})
            run = simulate(chip, "opt-1.3b", "decode", **RULE)
            return {
                "area_um2.pe_array": run.area_um2["pe_array"],
                "energy_pj": run.energy_pj["total"],
                "dram_gb_per_s": float(chip.dram_bits_per_clock) * chip.technology.clock_ghz / 8,
            }[resource]

        assert found == pytest.approx(at(value))
        assert max(at(value - step), at(value + step)) > target


def test_a_chip_of_fixed_area_is_the_same_for_all_it_runs(tmp_path):
    """Both phases and both models: one chip, of one area."""
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: [opt-1.3b, llama-2-7b]\naxes: {dram.bits_per_clock: [128, 256]}\n"
        "iso: {resource: area_um2, target: 4.0e6, solve: array.rows}\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (8, 0)
    (rows,) = {int(row["array.rows"]) for row in table(tmp_path / "out")}
    areas = [float(row["area_um2.total"]) for row in table(tmp_path / "out")]
    assert len(set(areas)) == 1
    assert areas[0] <= 4.0e6
    wider = load_arch("bitmod", {"array.rows": rows + 1})
    assert simulate(wider, "opt-1.3b", "prefill", fidelity="analytic").area_um2["total"] > 4.0e6


def test_what_the_workload_decides_is_solved_for_each(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: [opt-1.3b, llama-2-7b]\nphases: decode\n"
        "mapper: whole-buffer\n"
        "iso: {resource: seconds, target: 0.3, solve: dram.bits_per_clock, from: 16, to: 1024}\n"
    )
    assert run_sweep(path, tmp_path / "out", jobs=1).rows == 2
    small, large = table(tmp_path / "out")
    assert float(small["dram.bits_per_clock"]) < float(large["dram.bits_per_clock"])


def test_constraints_read_any_key_of_the_chip_as_the_phase_has_it(tmp_path):
    """Rows are 32, and 64 in decode; the lanes are the chip's own."""
    path = tmp_path / "sweep.yaml"
    text = "arch: [bitmod, ant]\nmodels: opt-1.3b\ncontexts: 256\naxes: {array.columns: [8, 16]}\n"
    path.write_text(
        text + "constraints: [array.rows * array.columns * pe.lanes <= 2048, "
        "cycles * dram.bits_per_clock > 0, array.kind == 'tile']\n"
    )
    run_sweep(path, tmp_path / "out", jobs=1)
    wanted = []
    for name in ("bitmod", "ant"):
        for columns in (8, 16):
            for phase in ("prefill", "decode"):
                chip = resolve(
                    load_arch(name, {"array.columns": columns}), phase=phase, model="opt-1.3b"
                )
                if chip.array.rows * columns * chip.pe.lanes <= 2048:
                    figures = (columns, chip.array.rows, chip.pe.lanes)
                    wanted.append((name, phase, *map(str, figures)))
    rows = table(tmp_path / "out")
    names = ("arch", "phase", "array.columns", "array.rows", "pe.lanes")
    assert [tuple(row[name] for name in names) for row in rows] == wanted
    assert 0 < len(wanted) < 8
    assert {row["dram.bits_per_clock"] for row in rows} == {"256.0"}
    assert len(list(read_results(tmp_path / "out"))) == len(wanted)


def test_a_key_that_this_chip_lacks_makes_the_point_a_failure(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: [bitmod, fp16]\nmodels: opt-1.3b\nphases: decode\n"
        "constraints: pe.numerics.preset == 'aligned'\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (1, 1)
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        (failed,) = csv.DictReader(file)
    assert failed["arch"] == "fp16"
    assert failed["error"] == (
        f"{path}:4:1: \"pe.numerics.preset == 'aligned'\": 'pe.numerics.preset' has no value here."
    )


def test_a_whole_section_is_a_value_of_an_axis(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-1.3b\nphases: decode\n"
        "axes: {array: [{kind: tile, rows: 4, columns: 8}, {kind: tile, rows: 8, columns: 8}]}\n"
        "constraints: array.rows > 4\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    (row,) = table(tmp_path / "out")
    assert (done.ruled_out, row["array.rows"]) == (1, "8")
    run = simulate(load_arch("bitmod", {"array.rows": 8, "array.columns": 8}), "opt-1.3b", "decode",
                   fidelity="analytic")  # fmt: skip
    assert int(row["cycles"]) == run.cycles


def test_paths_are_found_beside_the_sweep_file(tmp_path, monkeypatch):
    source = load_arch("bitmod").model_dump_json(exclude={"name"}, exclude_none=True)
    (tmp_path / "mine.yaml").write_text(source)
    (tmp_path / "sweep.yaml").write_text(
        "arch: mine.yaml\nmodels: opt-1.3b\nphases: decode\ncontexts: 256\n"
    )
    monkeypatch.chdir("/")
    run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    (row,) = table(tmp_path / "out")
    assert row["arch"] == "mine.yaml"
    run = simulate("bitmod", "opt-1.3b", "decode", 256, fidelity="analytic")
    assert int(row["cycles"]) == run.cycles


def test_the_cycle_rung_sweeps_too(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-1.3b\nphases: [prefill, decode]\ncontexts: 256\n"
        "axes: {array.rows: [16, 32]}\nfidelity: cycle\n"
    )
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (4, 0)
    for row in table(tmp_path / "out"):
        chip = load_arch("bitmod", {"array.rows": int(row["array.rows"])})
        run = simulate(chip, "opt-1.3b", row["phase"], 256, fidelity="cycle")
        assert int(row["cycles"]) == run.cycles
        assert float(row["energy_pj.total"]) == run.energy_pj["total"]


CYCLE = (
    "arch: bitmod\nmodels: opt-1.3b\nphases: [prefill, decode]\ncontexts: 64\n"
    "axes: {array.rows: [8, 32]}\nfidelity: cycle\n"
)


def test_stalls_have_a_column_for_each_cause(tmp_path):
    (tmp_path / "sweep.yaml").write_text(CYCLE + "constraints: stall_rescale_cycles >= 0\n")
    run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    for row in table(tmp_path / "out"):
        chip = load_arch("bitmod", {"array.rows": int(row["array.rows"])})
        run = simulate(chip, "opt-1.3b", row["phase"], 64, fidelity="cycle")
        stalls = {cause: int(row[f"stall_{cause}_cycles"]) for cause in run.stalls}
        assert stalls == run.stalls
        assert sum(stalls.values()) == int(row["stall_cycles"]) > 0


def test_causes_of_stalls_are_refused_where_the_rung_tells_none(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("arch: bitmod\nmodels: opt-1.3b\nconstraints: stall_weights_cycles == 0\n")
    with pytest.raises(BitlatheError, match=r"yaml:3:1: .*unknown key 'stall_weights_cycles'"):
        run_sweep(path, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_layers_are_those_of_single_runs_and_the_same_with_any_runner(tmp_path):
    (tmp_path / "sweep.yaml").write_text(CYCLE + "layers: true\nconstraints: array.rows * 1 > 8\n")
    one, two = tmp_path / "one", tmp_path / "two"
    run_sweep(tmp_path / "sweep.yaml", one, jobs=1)
    run_sweep(tmp_path / "sweep.yaml", two, jobs=2)
    names = {"results.csv", "results.parquet", "layers.csv", "layers.parquet"}
    assert names <= {file.name for file in one.iterdir()}
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()
    with (one / "layers.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    points = {row["key"]: row for row in table(one)}
    assert {row["key"] for row in found} == points.keys()
    assert len(points) == 2
    for key, point in points.items():
        chip = load_arch("bitmod", {"array.rows": int(point["array.rows"])})
        run = simulate(chip, "opt-1.3b", point["phase"], 64, fidelity="cycle")
        of_point = [row for row in found if row["key"] == key]
        assert [row["layer"] for row in of_point] == [layer.name for layer in run.layers]
        for row, layer in zip(of_point, run.layers, strict=True):
            assert (int(row["count"]), int(row["k"])) == (layer.count, layer.k)
            assert int(row["cycles"]) == layer.cycles
            assert float(row["energy_pj.dram"]) == layer.energy_pj["dram"]
            assert int(row["stall_inputs_cycles"]) == layer.stalls["inputs"]
        total = sum(int(row["cycles"]) * int(row["count"]) for row in of_point)
        assert total == int(point["cycles"])


def test_layers_leave_the_folder_with_the_sweep_that_kept_them(tmp_path):
    path, out = tmp_path / "sweep.yaml", tmp_path / "out"
    path.write_text("arch: bitmod\nmodels: opt-1.3b\nphases: decode\nlayers: true\n")
    run_sweep(path, out, jobs=1)
    assert (out / "layers.csv").exists()
    assert "key" in table(out)[0]
    path.write_text(path.read_text().replace("layers: true", "layers: false"))
    run_sweep(path, out, jobs=1)
    assert not (out / "layers.csv").exists()
    assert not (out / "layers.parquet").exists()
    assert "key" not in table(out)[0]


def test_fusion_is_a_choice_of_the_sweep(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-125m\nphases: prefill\ncontexts: 64\nmapper: search\n"
        "fusion: [true, false]\nconstraints: fusion or cycles > 0\n"
    )
    run_sweep(path, tmp_path / "out", jobs=1)
    rows = table(tmp_path / "out")
    assert [row["fusion"] for row in rows] == ["true", "false"]
    for row, fusion in zip(rows, (True, False), strict=True):
        run = simulate(
            "bitmod", "opt-125m", "prefill", 64, fidelity="analytic", mapper="search", fusion=fusion
        )
        assert row["cycles"] == str(run.cycles)
        assert row["energy_pj.total"] == repr(run.energy_pj["total"])
    assert rows[0]["energy_pj.total"] != rows[1]["energy_pj.total"]


def test_causal_attention_is_a_choice_of_the_sweep(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-1.3b\nphases: prefill\ncontexts: 2048\ncausal: [false, true]\n"
        "constraints: causal or cycles > 0\n"
    )
    run_sweep(path, tmp_path / "out", jobs=1)
    rows = table(tmp_path / "out")
    assert [row["causal"] for row in rows] == ["false", "true"]
    for row, causal in zip(rows, (False, True), strict=True):
        run = simulate("bitmod", "opt-1.3b", "prefill", 2048, fidelity="analytic", causal=causal)
        assert int(row["cycles"]) == run.cycles
    assert int(rows[1]["compute_cycles"]) < int(rows[0]["compute_cycles"])


def test_a_changed_format_file_invalidates_the_points_that_use_it(tmp_path):
    sweep, mine = tmp_path / "s.yaml", tmp_path / "mine.yaml"
    sweep.write_text(
        "arch: bitmod\nmodels: opt-125m\nphases: decode\n"
        f"schemes: {{linear: [{mine}@g128, int6@g128]}}\n"
    )
    evaluated = []
    for bits in (4, 4, 8):
        mine.write_text(f"name: mine\ninteger_bits: {bits}\n")
        evaluated.append(run_sweep(sweep, tmp_path / "out", jobs=1).evaluated)
    assert evaluated == [2, 0, 1]
    assert next(row["weight_bits"] for row in read_results(tmp_path / "out")) > 8
