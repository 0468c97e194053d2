"""The recipe's own config: which languages, which systems are trained on them, and how each is learned as a new one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from data_prep.checksums import digest_of_all
from recipes.run_records import digest_of, plain
from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.experiment import TuneConfig, WordsConfig
from speechnlp_tl.speech.multilingual_experiment import MultilingualExperiment
from speechnlp_tl.speech.new_language import NAME, SEARCH, NewLanguageConfig, parse_new_language, usual_steps

RECIPE = "multilingual_asr"
ALONE = "monolingual"
"""The system that has a model for each language."""
PRETRAINED = "pretrained"
"""The system of the languages that are learned before the real ones."""
SCRATCH = "from scratch"
"""A new language without the others."""
JOINT = "with the others from the start"
"""A new language trained together with all speech of the others: multi-task training."""
LEARNED = "learned"
"""Folder beside that of the trainings: what stage 3 makes is none of its inputs."""
UNTAUGHT = (SCRATCH, JOINT)
"""Ways to a model of a language that teach no finished model."""
ALL = "all"
"""The budget that is all of a language's speech."""
SCRATCH_STEPS = 800
"""From scratch, the least: on dev speech more made no fewer errors from one minute or three."""


class AloneConfig(StrictModel):
    """Training on one language behind that on all."""

    steps: PositiveInt = Field(description="of a language; those on all are fewer by as many")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the experiment, over the system's")


class SystemConfig(StrictModel):
    """One row of the table of systems."""

    settings: dict[str, Any] = Field(default_factory=dict, description="of the experiment, over the common ones")
    then_alone: AloneConfig | None = Field(None, description="its last steps, with each language alone")
    pretraining: bool = Field(False, description="on the languages of 'pretrain' alone")
    seeds: PositiveInt | None = Field(None, description="no more than so many")


class MadeConfig(StrictModel):
    """How much of each made language there is."""

    speakers: PositiveInt = Field(
        4, ge=4, description="voices: a quarter for the test, one for dev, the others to learn"
    )
    utterances: PositiveInt = Field(16, description="of each voice")
    sentences: PositiveInt | None = Field(None, description="different ones of a corpus, read out; none: digit strings")
    test_utterances: PositiveInt = 60


class MethodConfig(StrictModel):
    """One way to learn a new language."""

    settings: dict[str, Any] = Field(description="as 'speechnlp-tl adapt --method new-language' takes them")
    minutes: list[float | str] | None = Field(None, description="budgets; those of the recipe when not given")
    seeds: PositiveInt | None = None
    choose: bool = Field(False, description="also measure whether the language is found")
    source: str = Field("others", description="others: a model of all other languages; or a system")


class RecipeConfig(StrictModel):
    """conf/*.yaml."""

    languages: dict[str, str | None] = Field(min_length=2, description="languages, and espeak-ng's code where made")
    made: MadeConfig = MadeConfig()
    pretrain: list[str] = Field(default_factory=list, description="made languages to learn before the real ones")
    seeds: PositiveInt = 1
    experiment: dict[str, Any] = Field(description="of speechnlp-tl train, without task, data and languages")
    steps: PositiveInt = Field(description="of a monolingual training, and of a multilingual one")
    batch_seconds: PositiveFloat = Field(description="of each language in a step")
    systems: dict[str, SystemConfig] = Field(default_factory=dict)
    targets: list[str] | None = Field(None, description="languages to be learned as new; all when not given")
    minutes: list[float | str] = Field(default_factory=list, description="of the new language, or 'all'")
    scratch_steps: PositiveInt | None = Field(
        None, description=f"of a model of minutes alone; none: {SCRATCH_STEPS}, or those of a taught one if more"
    )
    scratch_batch_seconds: PositiveFloat = Field(
        NewLanguageConfig.model_fields["batch_seconds"].default, description="of such a model: those of a taught one"
    )
    joint_minutes: list[float | str] = Field(default_factory=list, description="budgets of training with the others")
    methods: dict[str, MethodConfig] = Field(default_factory=dict)
    search: TuneConfig = Field(
        SEARCH,
        description="weights that models of little speech choose from, taught ones and others alike",
    )
    picture: list[str] = Field(default_factory=list, max_length=2, description="systems whose last layer is drawn")

    @model_validator(mode="after")
    def _fit_together(self) -> RecipeConfig:
        unknown = sorted({*(self.targets or []), *self.pretrain} - set(self.languages))
        if unknown:
            raise ValueError(f"no such language: {', '.join(unknown)}")
        if self.learned and not self.minutes:
            raise ValueError("a new language needs 'minutes'; 'targets: []' learns none")
        if any(system.pretraining for system in self.systems.values()) and not self.pretrain:
            raise ValueError("'pretraining' needs languages under 'pretrain'")
        wrong = [name for name in self.picture if name not in self.systems or self.is_apart(name)]
        if wrong:
            raise ValueError(f"'picture' names no multilingual system: {', '.join(wrong)}")
        long = [name for name, own in self.systems.items() if own.then_alone and own.then_alone.steps >= self.steps]
        if long:
            raise ValueError(f"'then_alone' leaves no steps with all languages: {', '.join(long)}")
        alone = self.systems.get(ALONE)
        if alone and any(
            len(self.seeds_of(alone.seeds)) < len(self.seeds_of(own.seeds)) for own in self.systems.values()
        ):
            raise ValueError(f"'{ALONE}' has fewer seeds than a system that is compared with it")
        together = [name for name in self.systems if not self.is_apart(name)]
        sources = {method.source for method in self.methods.values()} - {"others", *together}
        if sources:
            raise ValueError(f"'source' names no system: {', '.join(sorted(sources))}")
        budgets = [
            *self.minutes,
            *self.joint_minutes,
            *(each for method in self.methods.values() for each in method.minutes or []),
        ]
        bad = [
            each
            for each in budgets
            if (isinstance(each, str) and each != ALL) or (not isinstance(each, str) and each <= 0)
        ]
        if bad:
            raise ValueError(f"minutes are above 0, or '{ALL}': {bad}")
        return self

    @property
    def learned(self) -> list[str]:
        """Languages that are learned as new ones, each in turn."""
        return list(self.languages) if self.targets is None else self.targets

    def is_apart(self, system: str) -> bool:
        """Whether a system has a model for each language."""
        return system == ALONE or self.systems[system].then_alone is not None

    def languages_of(self, system: str) -> list[str]:
        """What a system is trained on."""
        return self.pretrain if self.systems[system].pretraining else list(self.languages)

    def seeds_of(self, limit: int | None) -> range:
        return range(min(self.seeds, limit or self.seeds))

    def others(self, target: str) -> list[str]:
        """What the model knows that learns `target`."""
        rest = [name for name in self.languages if name != target]
        return (
            [name for name in rest if name in self.pretrain] if self.pretrain and target not in self.pretrain else rest
        )

    def experiment_of(
        self, languages: list[str], data: Path, seed: int, settings: dict[str, Any], steps: int | None = None
    ) -> MultilingualExperiment:
        """What `speechnlp-tl train` is given for a model of these languages.

        Raises:
            InputError: settings that do not fit.
        """
        content = {**self.experiment, **settings, "task": "multilingual-asr"}
        common = self.experiment.get("train", {})
        content["train"] = {**common, "steps": steps or self.steps, **settings.get("train", {}), "seed": seed}
        content["batch_seconds"] = self.batch_seconds * len(languages)
        content["data"] = {
            "train": [str(data / name / "train") for name in languages],
            "dev": [str(data / name / "dev") for name in languages],
        }
        content["languages"] = {name: words_of(data, name) for name in languages}
        return _checked(MultilingualExperiment, content, ", ".join(languages))

    def scratch_of(self, target: str, data: Path, minutes: float | str, seed: int) -> MultilingualExperiment:
        """A model of some minutes of one language, or of all its speech, alone."""
        speech = part(data, target, minutes, seed)
        # no fewer steps than what it is compared with, a taught model and, where it has all speech, one of the systems
        steps = self.scratch_steps or max(SCRATCH_STEPS, usual_steps(seconds_of(speech)))
        steps = max(self.steps, steps) if minutes == ALL else steps
        made = self.experiment_of([target], data, seed, {}, steps)
        config = made.data.model_copy(update={"train": [speech], "dev": [], "dev_share": 0.0})
        return made.model_copy(update={"data": config, "batch_seconds": self.scratch_batch_seconds})

    def joint_of(self, target: str, data: Path, minutes: float | str, seed: int) -> MultilingualExperiment:
        """A model of all speech of the others and some minutes of one language; no dev speech of that one."""
        languages = [*self.others(target), target]
        made = self.experiment_of(languages, data, seed, {})
        own = [*made.data.train[:-1], part(data, target, minutes, seed)]
        speech = made.data.model_copy(update={"train": own, "dev": made.data.dev[:-1]})
        return made.model_copy(update={"data": speech})

    def method_of(self, method: str, data: Path, target: str, seed: int) -> NewLanguageConfig:
        """What `speechnlp-tl adapt` is given."""
        content = {**self.methods[method].settings, "words": words_of(data, target), "seed": seed}
        return _checked(NewLanguageConfig, content, f"method '{method}'")

    def folder(self, runs: Path, name: str, experiment: MultilingualExperiment, seed: int) -> Path:
        """Of a training, named after all that it depends on."""
        depends = experiment.model_dump(mode="json")
        if experiment.initial is None:
            del depends["initial"]  # so that what was trained before there was one is found
        text = [data_digest(Path(path)) for path in [*experiment.data.train, *experiment.data.dev]]
        text += [words_digest(words) for words in experiment.languages.values()]
        return runs / f"{plain(name)}.{seed}-{digest_of([depends, text])}"

    def systems_folders(self, runs: Path, system: str, data: Path, seed: int) -> dict[str, Path]:
        """Each language -> the folder of the model that hears it."""
        found: dict[str, Path] = {}
        for folder, experiment in self.trainings_of(runs, system, data, seed).items():
            found |= dict.fromkeys(experiment.languages, folder)
        return found

    def trainings_of(self, runs: Path, system: str, data: Path, seed: int) -> dict[Path, MultilingualExperiment]:
        """What is trained for a system, by folder: what others begin from comes first."""
        own, languages = self.systems[system], self.languages_of(system)
        if system == ALONE:
            alone = [self.experiment_of([name], data, seed, own.settings) for name in languages]
            return {self.folder(runs, f"{ALONE} {next(iter(each.languages))}", each, seed): each for each in alone}
        if own.then_alone is None:
            experiment = self.experiment_of(languages, data, seed, own.settings)
            return {self.folder(runs, system, experiment, seed): experiment}
        steps = own.then_alone.steps
        together = self.experiment_of(languages, data, seed, own.settings, self.steps - steps)
        first = self.folder(runs, f"{system}, together", together, seed)
        found = {first: together}
        for name in languages:
            # states are aligned already, so nothing is annealed
            settings = {**own.settings, "anneal": 0.0, **own.then_alone.settings, "initial": str(first)}
            each = self.experiment_of([name], data, seed, settings, steps)
            found[self.folder(runs, f"{system}, {name}", each, seed)] = each
        return found

    def source_folder(self, runs: Path, method: str, target: str, data: Path, seed: int) -> Path:
        """Of the model that a method teaches `target`."""
        source = "others" if method in UNTAUGHT else self.methods[method].source
        settings = {} if source == "others" else self.systems[source].settings
        return self.others_folder(runs, target, data, seed, settings)

    def others_folder(self, runs: Path, target: str, data: Path, seed: int, settings: dict[str, Any]) -> Path:
        others = self.others(target)
        name = PRETRAINED if others == self.pretrain else f"without {target}"
        return self.folder(runs, name, self.experiment_of(others, data, seed, settings), seed)

    def learned_folder(self, runs: Path, method: str, target: str, minutes: float | str, data: Path, seed: int) -> Path:
        """Of a model that learned a language."""
        if method == SCRATCH:
            experiment = self.scratch_of(target, data, minutes, seed)
            return self.folder(runs, f"{SCRATCH} {target} {minutes}", experiment, seed)
        if method == JOINT:
            experiment = self.joint_of(target, data, minutes, seed)
            return self.folder(runs, f"{JOINT} {target} {minutes}", experiment, seed)
        source = self.source_folder(runs, method, target, data, seed).name
        settings = self.method_of(method, data, target, seed)
        speech = [data_digest(part(data, target, minutes, seed))]
        if self.hears_old_speech(method):
            speech += [data_digest(data / name / "dev") for name in self.others(target)]
        depends = [source, settings.model_dump(mode="json"), speech, words_digest(settings.words)]
        return runs.with_name(LEARNED) / f"{plain(f'{method} {target} {minutes}')}.{seed}-{digest_of(depends)}"

    def hears_old_speech(self, method: str) -> bool:
        """Whether speech of the old languages is given to a method: what matters to them, and what tells them apart."""
        own = self.methods[method]
        return own.choose or parse_new_language(own.settings.get("method", NAME)).needs_old_speech

    def budgets(self, method: str) -> list[float | str]:
        if method in UNTAUGHT:
            return self.minutes if method == SCRATCH else self.joint_minutes
        return self.methods[method].minutes or self.minutes

    def learnings(self, data: Path) -> list[tuple[str, str, float | str, int]]:
        """(method, target, minutes, seed) of every learning that there is speech for."""
        found = []
        for method in [*UNTAUGHT, *self.methods]:
            limit = None if method in UNTAUGHT else self.methods[method].seeds
            for target in self.learned:
                for minutes in self.budgets(method):
                    for seed in self.seeds_of(limit):
                        if part(data, target, minutes, seed).is_dir():
                            found.append((method, target, minutes, seed))
        return found


def part(data: Path, language: str, minutes: float | str, seed: int) -> Path:
    """The data directory of some minutes of a language; there is none where the language has less."""
    return data / language / ("train" if minutes == ALL else f"minutes-{minutes:g}-{seed}")


def tests(data: Path, language: str) -> dict[str, Path]:
    """The test sets of a language, by name."""
    return {path.name.removeprefix("test-"): path for path in sorted((data / language).glob("test-*"))}


def words_of(data: Path, language: str) -> dict[str, str]:
    folder = data / language
    return {"lexicon": str(folder / "lexicon.txt"), "arpa": str(folder / "lm.arpa")}


def words_digest(words: WordsConfig) -> str:
    """Of what the lexicon and the language model say."""
    return digest_of([path.read_text(encoding="utf-8") if path and path.is_file() else ""
                      for path in (words.lexicon, words.arpa)])  # fmt: skip


def seconds_of(folder: Path) -> float:
    """Speech of a data directory; 0 where it is not there."""
    durations = folder / "utt2dur"
    lines = durations.read_text(encoding="utf-8").splitlines() if durations.is_file() else []
    return sum(float(line.split()[1]) for line in lines)


def data_digest(folder: Path) -> str:
    """Of what a data directory says; nothing for one that is not there, which is told when it is read."""
    files = [path for path in sorted(folder.glob("*")) if path.is_file()]
    return _digest(folder, tuple(path.stat().st_mtime_ns for path in files))


@cache
def _digest(folder: Path, changed: tuple[int, ...]) -> str:
    return digest_of_all(folder, [path for path in sorted(folder.glob("*")) if path.is_file()])


def _checked(schema: Any, content: dict[str, Any], what: str) -> Any:
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise InputError([f"{what}: {each['loc']}: {each['msg']}" for each in error.errors()]) from error
