"""Chapter 16's interactive: how far luck carries a score."""

from typing import Any

from minimind_lite.evaluation.closed_book import wilson_interval

from ...kit.labels import label
from ...kit.language import say
from .experiments import pretended_exams
from .figures import drawn_scores


def luck(exams: int) -> Any:
    """Choose an exam's length and a model's true skill; see the scores that such a model gets."""
    import ipywidgets
    from IPython.display import display

    def draw(questions: int, skill: float) -> None:
        scores = pretended_exams(skill, questions, exams)
        low, high = wilson_interval(skill * questions, questions)
        print(say("true skill {skill}: scores from {worst} to {best}; Wilson's interval from {low} to {high}",
                  skill=f"{skill:.0%}", worst=f"{scores.min():.1%}", best=f"{scores.max():.1%}", low=f"{low:.1%}",
                  high=f"{high:.1%}"))  # fmt: skip
        display(drawn_scores(scores.tolist(), skill, questions))

    return ipywidgets.interactive(
        draw,
        questions=ipywidgets.SelectionSlider(options=[25, 50, 100, 200, 500, 1346, 5000, 14042], value=200,
                                             description=label("questions").split()[0], continuous_update=False),
        skill=ipywidgets.FloatSlider(value=0.25, min=0.0, max=1.0, step=0.01, description=label("skill"),
                                     continuous_update=False),
    )  # fmt: skip
