"""Cells that share a pretraining are one task, which asks everything that they ask."""

SHARED = "methods: {untrained: {}, pixels: {}}\n"


def test_cells_of_one_pretraining_are_one_task(fresh):
    command = fresh(more=SHARED)
    by_method = {}
    for task in command.tasks:
        by_method.setdefault(task.pretraining.method, []).append(task)
    assert {method: len(tasks) for method, tasks in by_method.items()} == {"w_mse": 2, "untrained": 2, "pixels": 1}
    (pixels,) = by_method["pixels"]
    assert [cell.seed for cell in pixels.cells] == [0, 1]
    assert pixels.label == "pixels on digits, seeds 0, 1"
    assert by_method["untrained"][1].label == "untrained on digits, seed 1"
    # a linear probe is drawn with each seed, k-NN with none
    assert [pixels.name_of(evaluation) for evaluation in pixels.evaluations] == ["linear", "knn5", "linear"]
    assert [evaluation.seed for evaluation in pixels.evaluations] == [0, None, 1]
    assert pixels.id == pixels.pretraining.id


def test_tasks_are_in_the_order_of_the_plan(original):
    planned = [here.cell.pretraining.id for here in original.expansion.planned]
    assert [task.id for task in original.tasks] == planned


def test_a_monitor_is_taken_once_by_its_first_name(fresh):
    more = "defaults: {monitors: {again: {probe: knn, k: 5, every_epochs: 1}, later: {probe: knn, every_epochs: 2}}}\n"
    monitors = fresh(more=more).task("w_mse").monitors
    assert list(monitors) == ["knn5", "later"]


def test_diagnostics_look_at_the_cells_own_images_before_those_of_a_transfer(fresh):
    more = """
        defaults: {evaluations: {other: {probe: knn, dataset: fashion_mnist}, linear: null}}
        methods: {untrained: null}
        axes: {seeds: 1}
    """
    command = fresh(more=more)
    task = command.tasks[0]
    assert task.evaluations[-1].train.name == "fashion_mnist" or task.evaluations[0].train.name == "fashion_mnist"
    assert task.described_on.train.name == "digits"


def test_where_nothing_is_asked_nothing_is_looked_at(fresh):
    command = fresh(more="defaults: {evaluations: {linear: null, knn5: null}, monitors: {knn5: null}}\n")
    task = command.task("untrained")
    assert task.described_on is None

    assert command.run([task]).did == (0, ["describing"])
    description = command.store.read_description(task.id).record
    assert description.diagnostics == {}
    assert description.unknown["diagnostics"] == "nothing is asked of it, so no images are known to look at"
    assert command.result(task).status == "done"
