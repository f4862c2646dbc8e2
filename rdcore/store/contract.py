"""What a run asks of data, device and numbers: checked wherever a run is trained, loaded, exported
or served."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from rdcore import datasets
from rdcore.checks import short, users_of
from rdcore.data import Interactions, Stage, stage
from rdcore.data.queries import Queries, final_queries
from rdcore.distill.base import Distillation
from rdcore.eval import leave_one_out
from rdcore.files.whole import read_json
from rdcore.models import Caser, Fossil, Popularity
from rdcore.models.base import Model, built, evaluating, wants_fit
from rdcore.store.experiment import Experiment
from rdcore.store.record_files import REMEDY

SHORTER = (  # for people, of `Distillation.n_short`
    "{} of the lists or samples are shorter than asked for, because the teacher names or the user leaves fewer items: they "
    "count with what they have"
)


def check_device(device: str | torch.device) -> None:
    """Raises ValueError for a device that is not there: 'cpu', and of GPUs 'cuda' and 'cuda:N' up
    to their number."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{n}" for n in range(gpus))]
    if str(device) not in here:
        raise ValueError(
            f"there is no device {str(device)!r} here: use 'cpu', or 'cuda' where a CUDA build of torch sees a GPU; there are: "
            f"{', '.join(here)}"
        )


def check_dtype() -> None:
    """Raises ValueError where torch's default is not float32, in which every run is trained and
    kept."""
    if torch.get_default_dtype() != torch.float32:
        raise ValueError(
            f"torch's default is {torch.get_default_dtype()}, and runs are trained and kept in torch.float32: "
            "call torch.set_default_dtype(torch.float32) first"
        )


def check_key(experiment: Experiment, key: str) -> None:
    """Raises ValueError where ``experiment`` describes another run than the one of this key."""
    if experiment.key != key:
        raise ValueError(
            f"the experiment describes {experiment.label} with key {experiment.key}, not run {key}: "
            "ask with the experiment that made the run"
        )


def check_kind(data: object) -> None:
    """Raises ValueError for anything but interactions or a stage."""
    if not isinstance(data, (Interactions, Stage)):
        if isinstance(data, str):
            remedy = f"rdcore.load({data!r}) for a data set of the catalog, rdcore.from_frame(pandas.read_csv(...)) for a file"
        elif type(data).__module__.startswith("rdcore.data"):  # Split, LeaveOneOut
            remedy = "the interactions that were split; stage L is asked for by its name"
        else:
            remedy = "rdcore.from_frame(frame, user=..., item=..., time=...)"
        raise ValueError(f"data must be Interactions or a Stage, not a {type(data).__name__}: give {remedy}")


def check_data(experiment: Experiment, data: Interactions | Stage) -> None:
    """Raises ValueError where ``data`` are not those that the run describes: by their hash, or a
    stage of your own by that of its fitted part (see `check_stage`)."""
    check_hash(experiment.dataset, experiment.data_hash, data)


def check_hash(dataset: str, described: str, data: Interactions | Stage) -> None:
    """The same of what a description says."""
    check_kind(data)
    here = data.sha256()
    if described not in (here, data.fit.sha256() if isinstance(data, Stage) else here):
        raise ValueError(
            f"data set {dataset!r} has hash {here}, but the run describes {described}: "
            f"bring the data that it describes, or describe the run with data_hash={here!r}"
        )


def check_stage(described: str, data: Interactions | Stage, folder: Path) -> None:
    """Raises ValueError where the run in ``folder`` was evaluated on other rows than those of
    ``data``. Only a run described by the fitted part alone can be; its stage.json names the stage.
    described: its data_hash."""
    given = data.sha256() if isinstance(data, Stage) and data.sha256() != described else None
    kept = read_json(folder / "stage.json", str, REMEDY) if (folder / "stage.json").exists() else None
    if kept != given and (folder / "description.json").exists():
        raise ValueError(
            f"{folder} is evaluated by other rows than those given: describe the run by data_hash=stage.sha256(), "
            "which stands for both parts of a stage"
        )


def check_all(experiment: Experiment, data: Interactions | Stage | None, device: str) -> Interactions | Stage:
    """The data of a run: those given, else those of the catalog. Raises ValueError for whatever the
    run cannot be trained with.

    Nothing is written before.
    """
    check_device(device)
    check_dtype()
    if data is None:
        data = datasets.load(experiment.dataset)
    check_data(experiment, data)
    return data


def teacher_at(student: Model, teacher: Model) -> str:
    """When the teacher is asked, as in `Experiment.teacher_at`: at 'last' for a student without memory, which cannot tell the
    moments of a user apart and would be taught all of them at once; else, or where the teacher has none, at 'query'."""
    return "last" if student.window == 0 < teacher.window else "query"


def at_last(teacher: Model, fit: Interactions) -> Model:
    """The teacher as it ranks behind each user's last item in ``fit``, whatever the query. Both share their weights.

    Raises ValueError for a teacher without memory, which says the same at every moment.
    """
    if teacher.window == 0:
        raise ValueError(f"the teacher, {type(teacher).__name__}, has no memory and says the same at every moment of a user: "
                         "leave teacher_at at 'query'")  # fmt: skip
    fixed, queries = copy.copy(teacher), {}

    def encode(asked: Queries) -> Tensor:
        if asked.user.device not in queries:
            queries[asked.user.device] = final_queries(fit).to(asked.user.device)
        with evaluating(teacher):  # it looks as far back as itself, and `fixed` not at all
            return teacher.encode(queries[asked.user.device][asked.user])

    fixed.window, fixed.encode = 0, encode
    return fixed


def distillation_of(settings, student: Model, teacher: Model | None, device) -> Distillation:
    """The distillation that ``settings`` make, on ``device``. Raises ValueError where it is none."""
    made = settings.build(student, teacher)
    if not isinstance(made, Distillation):
        raise ValueError(f"{type(settings).__name__}.build(student, teacher) must return a Distillation, got {short(made)}")
    return made.to(device)


def check_apart(distillation: Distillation, student: Model, teacher: Model | None) -> None:
    """Raises ValueError where a prepared distillation has a model as a part of itself: it would train the teacher, or the
    student twice in a step."""
    parts = {id(weights) for weights in distillation.parameters()}
    for role, model, remedy in (
        ("teacher", teacher, "would train it: self.freeze(teacher) in prepare keeps it apart, as self.teacher"),
        ("student", student, "would train it twice: loss and begin_epoch are given it"),
    ):
        if model is not None and any(id(weights) in parts for weights in model.parameters()):
            raise ValueError(f"{type(distillation).__name__} holds the {role} as a part of itself and {remedy}")


def built_for(experiment: Experiment, data: Interactions | Stage) -> Model:
    """The experiment's model, not trained; a model that asks for the fitted part gets it."""
    if wants_fit(experiment.model):
        return built(experiment.model, fitted_part(data, experiment.stage))
    return built(experiment.model, data.fit if isinstance(data, Stage) else data)


def knowing_users(model: Model, data: Interactions | Stage) -> Model:
    """``model``, which now knows which users it was fitted to (`rdcore.checks.of_its_users`), where it has something of each.
    Popularity has not; of the models with a memory, Caser and Fossil have."""
    if isinstance(model, (Caser, Fossil)) or (model.window == 0 and not isinstance(model, Popularity)):
        model.fitted_users = users_of(data.fit if isinstance(data, Stage) else data)
    return model


def stage_of(data: Interactions | Stage, name: str) -> Stage:
    """What a model is evaluated on over all items: on stage L the test items. A published split is
    its own stage."""
    if isinstance(data, Stage):
        if data.name != name:
            raise ValueError(f"the data are a split for stage {data.name!r}, and the run is on stage {name!r}")
        return data
    return leave_one_out.Judge(data).test if name == "L" else stage(data, name)


def fitted_part(data: Interactions | Stage, name: str) -> Interactions:
    """What models are fitted to on stage ``name``."""
    if name == "L" and not isinstance(data, Stage):
        return leave_one_out.Judge(data).fit
    return stage_of(data, name).fit
