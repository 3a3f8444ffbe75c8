"""The page's words in English and Chinese. The English text is the key, as in gettext; a test finds what is missing."""

from collections.abc import Callable

Words = Callable[[str], str]
LANGUAGES = {"en": "English", "zh": "中文"}


def words_of(language: str) -> Words:
    """What turns an English text of the page into the chosen language's."""
    return CHINESE.__getitem__ if language == "zh" else str


CHINESE = {
    # The conversation
    "New conversation": "新对话",
    "Write a message below. Every question can be changed and every answer asked for again: each change "
    "becomes a branch, and nothing is lost.":
    "请在下方输入消息。每个问题都可以修改，每个回答都可以重新生成：每次改动都会成为一个分支，原来的内容不会丢"
    "失。",
    "No model can be asked. Start one with `minimind serve DIR`, or connect to another server.":
    "没有可用的模型。请用 `minimind serve DIR` 启动一个，或连接其他服务器。",
    "What is the capital of France?": "法国的首都是哪里？",
    "Tell me a story about a fox.": "给我讲一个狐狸的故事。",
    "Who are you?": "你是谁？",
    "Your message": "输入消息",
    "Your question": "你的问题",
    "Answering …": "正在回答……",
    "Stop": "停止",
    "Edit": "编辑",
    "Ask again": "重新生成",
    "Ask this instead": "改问这个问题",
    "Leave it": "取消",
    "Earlier": "上一个",
    "Later": "下一个",
    "{number} of {count}": "第 {number} 个，共 {count} 个",
    "(an empty answer)": "（空回答）",
    "stopped": "已停止",
    "cut: it reached the most tokens": "已截断：达到最大词元数",
    "cut by a filter": "被过滤器截断",
    "{count} tokens": "{count} 个词元",
    "{rate} tokens/s": "每秒 {rate} 个词元",
    "Thoughts, {count} characters": "思考过程，{count} 个字符",
    # Calls of functions
    "Call of the function {name}": "调用函数 {name}",
    "What does {name} return?": "{name} 的返回值是什么？",
    "The model has asked for this function. You are the function: write what it returns.":
    "模型要求调用这个函数。现在由你来扮演这个函数：请写出它的返回值。",
    "Give it to the model": "交给模型",
    "First say what the function returns": "请先填写函数的返回值",
    "Tools": "工具",
    "Functions": "函数",
    "Functions that the model may call, as a JSON list. You are asked for what they return.":
    "模型可以调用的函数，写成 JSON 列表。函数的返回值由你来填写。",
    "Put in an example": "填入示例",
    "The functions cannot be read: {reason}": "无法读取函数定义：{reason}",
    # Probabilities
    "Show answers as": "回答的显示方式",
    "Text": "纯文本",
    "Tokens": "词元",
    "Tokens: how sure the model was of every one, and what else it might have said there.":
    "词元：模型对每个词元有多大把握，以及它在那里原本还可能说什么。",
    "Probability of each token:": "每个词元的概率：",
    "{text}: {percent}": "{text}：{percent}",
    "The tokens as a table": "以表格显示词元",
    "No.": "序号",
    "Token": "词元",
    "Probability": "概率",
    "Likeliest here": "此处最可能的词元",
    "The server gave no probabilities for this answer.": "服务器没有给出这个回答的概率。",
    # Models and servers
    "Model": "模型",
    "Second model": "第二个模型",
    "Compare with a second model": "与第二个模型对比",
    "Both get every message; each keeps its own conversation.": "两个模型都会收到每条消息，各自保留自己的对话。",
    "Another server": "其他服务器",
    "Address": "地址",
    "API key": "API 密钥",
    "It is kept for this visit only, and sent to this address only.":
    "密钥只在本次访问期间保留，也只会发送到这个地址。",
    "Connect": "连接",
    "Try again": "重试",
    "An address begins with http:// or https:// and usually ends with /v1.":
    "地址以 http:// 或 https:// 开头，通常以 /v1 结尾。",
    "Come in": "进入",
    "This key does not open the page.": "密钥不正确。",
    "System turn": "系统提示",
    "What the model is told before the conversation: who it is, how it should answer.":
    "对话开始之前告诉模型的内容：它是谁，应该怎样回答。",
    # How words are drawn
    "How words are drawn": "采样设置",
    "Temperature": "温度",
    "Divides the scores before they become probabilities. 0: always the likeliest token. 1: the model's own "
    "probabilities. Above: unlikely tokens become likelier, and the text wilder.":
    "在得分变成概率之前，用它去除得分。0：总是选最可能的词元。1：模型自己的概率。大于 1：不太可能的词元变得更"
    "可能，文字更加奔放。",
    "Top-p": "Top-p",
    "Only the likeliest tokens that together reach this probability are drawn from: few where the model is "
    "sure, many where it is not. 1 is off.":
    "只从概率之和达到这个值的最可能的词元中抽取：模型有把握时候选很少，没把握时候选很多。1 表示关闭。",
    "Top-k": "Top-k",
    "Only so many of the likeliest tokens are drawn from, however sure the model is. 0 is off.":
    "无论模型有多大把握，都只从最可能的这么多个词元中抽取。0 表示关闭。",
    "Min-p": "Min-p",
    "Only tokens at least this share as likely as the likeliest are drawn from. 0 is off.":
    "只抽取概率不低于“最可能词元的概率乘以这个比例”的词元。0 表示关闭。",
    "Repetition penalty": "重复惩罚",
    "Above 1, tokens that were used already become less likely. 1 is off.":
    "大于 1 时，已经用过的词元变得不那么可能。1 表示关闭。",
    "Most tokens of an answer": "回答的最大词元数",
    "The answer is cut there, finished or not.": "到此为止，不论回答是否已经结束。",
    "Seed": "随机种子",
    "random": "随机",
    "The same number draws the same answer to the same question, as long as nothing else changes.":
    "只要其他条件不变，同一个数字对同一个问题会抽出同样的回答。",
    "Stop at": "停止文本",
    "The answer ends before this text.": "回答会在这段文字之前结束。",
    "Thinking": "思考",
    "Whether the model is made to write down its thoughts first. For models that were trained to.":
    "是否让模型先写下思考过程。只适用于受过这种训练的模型。",
    "as the model likes": "由模型决定",
    "on": "开",
    "off": "关",
    "Ask for probabilities": "请求词元概率",
    "Switch this off for servers that refuse it.": "如果服务器拒绝这个请求，请关闭此项。",
    "What the controls do": "这些设置的效果",
    "After the first answer you see here what the controls make of its tokens.":
    "得到第一个回答之后，这里会显示这些设置对其中词元的影响。",
    "Token of the last answer": "最近一个回答中的第几个词元",
    "Drawn was {text}. Grey: the model's own probabilities; blue: what is drawn from now.":
    "抽到的是 {text}。灰色：模型自己的概率；蓝色：现在用来抽取的概率。",
    "{text}: {before} before, {after} after": "{text}：设置前 {before}，设置后 {after}",
    # The conversation as a file
    "Keep the conversation": "保存对话",
    "Every branch, not only the one shown": "所有分支，而不只是当前显示的分支",
    "JSON Lines, as `minimind train sft` reads it. Answers that were stopped or cut are left out.":
    "JSON Lines 格式，`minimind train sft` 可以直接读取。被停止或截断的回答不会写入。",
    "Download {count} conversations": "下载 {count} 个对话",
    "This conversation cannot be trained on: {reason}": "这个对话不能用于训练：{reason}",
}  # fmt: skip
