"""The tables of README.md in Chinese: each cell's words are replaced, its figures stay as they are."""

import re
from collections.abc import Callable

_Words = str | Callable[[re.Match[str]], str]
WORDS = {  # whole cells; what is not here is put together from PARTS
    # heads
    "held-out": "留出的题目",
    "held-out measurement": "在留出的题目上量",
    "recorded run": "有记录的运行",
    "beside it": "对照",
    "three other seeds, all questions": "另外三个种子，全部题目",
    "model": "模型",
    "exam, by letter": "试卷，答字母",
    "exam, by whole answer": "试卷，答整句",
    "Chinese pairs": "中文句对",
    "English pairs": "英文句对",
    "guessing": "瞎猜",
    "unit": "单位",
    "ours": "本库",
    "peer": "对手",
    "ratio (quartiles)": "比值（四分位数）",
    "goal": "目标",
    "padding, ours / peer": "填充，本库 / 对手",
    "share of matrix peak": "占矩阵乘法峰值",
    # what the chat model does
    "Facts, other wordings of a trained question": "事实：训练过的问题，换一种说法",
    "Facts, frames never trained": "事实：提问的框架没训练过",
    "Facts asked backwards, backward questions of the kind trained": "事实反着问：这个反着的问题用别的说法训练过",
    "Facts asked backwards, none trained": "事实反着问：只正着训练过",
    "Small talk: the right intent": "闲聊：听懂了意图",
    "Follow-up questions": "追问",
    "Recall across turns, values of known lists": "记住前面说的：已知名单里的",
    "Recall across turns, new names and numbers": "记住前面说的：新的名字和数",
    "Invented names refused (beside it: known ones refused)": "编造的名字，回答不知道（对照：知道的名字也说不知道）",
    "System turns obeyed": "听系统轮的话",
    "Stories that end by themselves": "故事自己结束",
    "Stories that keep the asked hero": "故事的主角是要求的那个",
    "Stories whose end fits the asked wish": "故事的结尾合乎要求的愿望",
    "Longest run copied from a training story, share of a story": "从某个训练故事照搬的最长一截，占故事的比例",
    "Bits per byte on all held-out texts after fine-tuning (beside it: before)":
        "微调之后，全部留出文本的每字节比特数（对照：微调之前）",
    "Pretraining: sources below an interpolated trigram (beside it: sources)":
        "预训练：比插值三元模型好的来源数（对照：来源总数）",
    "Tokenizer: characters per token, Chinese stories and talk": "分词器：每个词元的字符数，中文故事和对话",
    "Tokenizer: characters per token, English stories and talk": "分词器：每个词元的字符数，英文故事和对话",
    # the other stages
    "MoE: loss at equal active parameters and steps, nats per token (beside it: dense)":
        "混合专家：激活参数和步数相同时的损失，每词元奈特（对照：稠密）",
    "MoE: router entropy, share of its maximum": "混合专家：路由器的熵，占最大值的比例",
    "LoRA: questions about itself answered word for word (beside it: before)":
        "LoRA：关于自己的问题，答得一字不差（对照：之前）",
    "LoRA: share of the parameters that were trained": "LoRA：训练的参数所占的比例",
    "LoRA: closed-book score lost with the adapter on": "LoRA：装上适配器，闭卷分数丢掉多少",
    "DPO: pairs in which the better answer is preferred (beside it: before)":
        "DPO：更喜欢好回答的回答对（对照：之前）",
    "DPO: sampled answers in the preferred style": "DPO：采样的回答里，合乎偏好的风格的",
    "Distillation: the student's loss on answers, nats per token (beside it: the same student on labels alone)":
        "蒸馏：学生模型在回答上的损失，每词元奈特（对照：只看标签的同一个学生模型）",
    "Reasoning: sums right with thinking (beside it: without, at equal training tokens)":
        "推理：先想再答，做对的加法题（对照：直接答，训练词元数相同）",
    "Reasoning: answers whose tags are well-formed": "推理：标签格式正确的回答",
    "GRPO: sums right after reinforcement (beside it: the model it started from)":
        "GRPO：强化学习之后做对的加法题（对照：出发时的模型）",
    # units of the speed
    "share": "比例",
    "seconds": "秒",
    "seconds of CPU time": "CPU 秒",
    "positions/s": "位置/秒",
    "tokens/s": "词元/秒",
    "trained tokens/s": "训练词元/秒",
    "new tokens/s": "新词元/秒",
    "updates/s": "更新/秒",
    "MB/s": "MB/秒",
}  # fmt: skip

PARTS: tuple[tuple[str, _Words], ...] = (  # parts of a cell, in this order
    (r", on ([^,]+)$", r"，\1"),
    (r"^train (\w+): ", r"训练 \1："),
    (r"^align (\w+): (\w+) step$", r"对齐 \1：\2 的一步"),
    (r"^attention (\w+): ([\d,]+) packed positions$", r"注意力 \1：打包的 \2 个位置"),
    (r"^generate (\w+): ", r"生成 \1："),
    (r"^serve (\w+): (\d+) clients? at a time$", r"服务 \1：同时 \2 个客户"),
    (r"^moe (\w+): ", r"混合专家 \1："),
    (r"^data: ", "数据："),
    (r"^start: ", "启动："),
    (r"：share of the matrix peak$", "：占矩阵乘法峰值的比例"),
    (r"：useful tokens$", "：有用的词元"),
    (r"：positions$", "：位置"),
    (r"：(\d+) requests of mixed lengths through (\d+) slots(?=，|$)", r"：\1 个长短不一的请求，共用 \2 个位子"),
    (r"：(\d+) texts against one", r"：\1 篇文本与一篇相比"),
    (r"：(\d+) texts?", r"：\1 篇文本"),
    (r", int8(?=，|$)", "，int8"),
    (r"：forward and backward$", "：前向和反向"),
    (r"：optimizer$", "：优化器"),
    (r"：texts to documents$", "：从文本到文档"),
    (r"：JSON Lines file to token store$", "：从 JSON Lines 文件到词元库"),
    (r"：reading packed batches, from assembled blocks$", "：读打包好的批次，块已预先拼好"),
    (r"：reading packed batches, laid out from the plan$", "：读打包好的批次，按计划现拼"),
    (r"：reading packed batches$", "：读打包好的批次"),
    (r"：opening a store of ([\d,]+) documents \((\d+) MB\)$", r"：打开 \1 篇文档的词元库（\2 MB）"),
    (
        r"：planning the blocks of a store of ([\d,]+) documents \((\d+) MB\)$",
        r"：为 \1 篇文档的词元库安排各块（\2 MB）",
    ),
    (r"：minimind --help$", "：`minimind --help`"),
    (r"：import minimind_lite$", "：`import minimind_lite`"),
    (r"：a chapter's first cells, in a kernel$", "：一章的头几个单元格，在内核里"),
    (r"：a chapter's first cells$", "：一章的头几个单元格"),
    (r" \((original|causal|mask|slicing|fixed batches|ours, one text)\)$", lambda hit: f"（{_PEERS[hit[1]]}）"),
    (r" \((transformers|PEFT|TRL|tokenizers|llama\.cpp(?: Q8_0)?)\)$", r"（\1）"),
    (r" \(llama\.cpp server\)$", "（llama.cpp 服务器）"),
    (r", met$", "，达到"),
    (r", missed$", "，没达到"),
    (r" points$", " 个百分点"),
    (r" \((\S+) to (\S+)\)$", r"（\1 到 \2）"),
    (r" \(n = (\d+)\)$", r"（n = \1）"),
    (r" \(([\d.]+–[\d.]+)\)$", r"（\1）"),
    (r"^(?:pretrain|sft|lora|dpo|distill|reason|grpo|ppo)$|\.gguf$", lambda hit: hit[0]),
)
_PEERS = {
    "original": "原版", "causal": "因果", "mask": "掩码", "slicing": "切片", "fixed batches": "固定批次",
    "ours, one text": "本库，一篇文本",
}  # fmt: skip
_SENTENCES: tuple[tuple[str, _Words], ...] = (  # lines outside of tables
    (r"^<summary>Rows without a goal</summary>$", "<summary>没有定目标的各行</summary>"),
    (r"^On: (.*); (torch .*?)(?:; load average before a run: (\S+) to (\S+?))?\.$", lambda hit: _ran_on(*hit.groups())),
    (
        r"^`minimind eval` and (.*) agree on (\S+) of (\S+) such items of one model \((.*)\), "
        r"log-likelihoods to (\S+) nats \((.*)\)\.$",
        r"让同一个模型（\4）做 \3 道这类题，`minimind eval` 和 \1 有 \2 道结果一致，"
        r"对数似然最多相差 \5 奈特（\6）。",
    ),
    (r"^</?details>$", lambda hit: hit[0]),
)


def _ran_on(devices: str, versions: str, low: str | None, high: str | None) -> str:
    load = f"；运行前的系统负载：{low} 到 {high}" if low else ""
    return f"运行在：{devices}；{versions}{load}。"


def in_chinese(block: str) -> str:
    """A block of the English README in Chinese; SystemExit names words that have no Chinese here."""
    return "\n".join(_line(line) for line in block.split("\n"))


def _line(line: str) -> str:
    if line.startswith("|"):
        return "|".join(f" {_cell(cell.strip())} " if cell.strip(" -") else cell for cell in line.split("|"))
    for pattern, words in _SENTENCES:
        if re.search(pattern, line):
            return re.sub(pattern, words, line)
    if line:
        raise SystemExit(f"benchmarks/readme_chinese.py: _SENTENCES has no Chinese for: {line}")
    return line


def _cell(cell: str) -> str:
    """One cell: its words, or those put together; numbers and signs alone stay as they are."""
    if cell in WORDS:
        return WORDS[cell]
    said, known = cell, not re.search(r"[A-Za-z]", cell)
    for pattern, words in PARTS:
        said, hits = re.subn(pattern, words, said)
        known = known or bool(hits)
    if not known or re.search(r"：[a-z]", said):
        raise SystemExit(f"benchmarks/readme_chinese.py: WORDS has no Chinese for: {cell}")
    return said
