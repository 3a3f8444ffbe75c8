"""Chapter 14's interactive: one sum, asked with the thinking switch in each of its positions."""

from typing import Any

from minimind_lite.generation.engine import generate
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

from ...kit.labels import label
from ...kit.style import html
from .figures import said

SWITCH: dict[str, bool | None] = {"model_decides": None, "thinks": True, "answers_at_once": False}


def switched_answer(
    model: Transformer, tokenizer: Tokenizer, question: str, thinking: bool | None, max_new_tokens: int = 96
) -> str:
    """The assistant's turn to ``question``, with what the switch wrote for it."""
    turns = [{"role": "user", "content": question}]
    bare = tokenizer.render(turns, add_generation_prompt=True).ids
    prompt = tokenizer.render(turns, add_generation_prompt=True, thinking=thinking).ids
    written = generate(model, tokenizer, [prompt], max_new_tokens=max_new_tokens)[0].text
    return tokenizer.decode(prompt[len(bare) :]) + written


def thinking_switch(model: Transformer, tokenizer: Tokenizer, question: str, max_new_tokens: int = 96) -> Any:
    """Type a question, turn the switch, read the answer."""
    import ipywidgets
    from IPython.display import display

    def draw(question: str, thinking: str) -> None:
        display(html(said(switched_answer(model, tokenizer, question, SWITCH[thinking], max_new_tokens))))

    return ipywidgets.interactive(
        draw,
        question=ipywidgets.Text(value=question, description=label("question"), continuous_update=False),
        thinking=ipywidgets.Dropdown(options=[(label(name), name) for name in SWITCH], description="thinking"),
    )
