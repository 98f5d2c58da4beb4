// The Jinja originals of the built-in chat templates, as checkpoints carry
// them. Never run: only compared with, by CanonicalJinja, to which line breaks
// behind a block tag and white space inside of tags are nothing.
#ifndef CARAVAN_COORDINATOR_TEXT_CHAT_ORIGINALS_H_
#define CARAVAN_COORDINATOR_TEXT_CHAT_ORIGINALS_H_

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// Meta's, of Llama-2-7b-chat-hf.
inline constexpr absl::string_view kLlama2Original =
    R"({% if messages[0]['role'] == 'system' %}
{% set loop_messages = messages[1:] %}
{% set system_message = messages[0]['content'] %}
{% else %}
{% set loop_messages = messages %}
{% set system_message = false %}
{% endif %}
{% for message in loop_messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate )"
    R"(user/assistant/user/assistant/...') }}{% endif %}
{% if loop.index0 == 0 and system_message != false %}
{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n'
    + message['content'] %}
{% else %}
{% set content = message['content'] %}
{% endif %}
{% if message['role'] == 'user' %}
{{ bos_token + '[INST] ' + content.strip() + ' [/INST]'
    }}{% elif message['role'] == 'assistant' %}
{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}
{% endfor %})";

// Meta's, of Meta-Llama-3-8B-Instruct: what its two releases begin with, and
// how the first and the second one end.
inline constexpr absl::string_view kLlama3Begin =
    R"({% set loop_messages = messages %}
{% for message in loop_messages %}
{% set content = '<|start_header_id|>' + message['role']
    + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}
{% if loop.index0 == 0 %}
{% set content = bos_token + content %}
{% endif %}
{{ content }}{% endfor %})";
inline constexpr absl::string_view kLlama3Prompt =
    R"({{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }})";
inline constexpr absl::string_view kLlama3PromptIfAsked =
    R"({% if add_generation_prompt %}
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

// ChatML in parts. Some begin with a default; some have a system message for
// conversations without one, whose text stands between Begin and End.
inline constexpr absl::string_view kChatMlDefault =
    R"({% if not add_generation_prompt is defined %}
{% set add_generation_prompt = false %}
{% endif %})";
inline constexpr absl::string_view kChatMlLoop =
    R"({% for message in messages %})";
inline constexpr absl::string_view kChatMlSystemBegin =
    R"({% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|im_start|>system\n)";
inline constexpr absl::string_view kChatMlSystemEnd =
    R"(<|im_end|>\n' }}{% endif %})";
inline constexpr absl::string_view kChatMlMessage =
    R"({{ '<|im_start|>' + message['role'] + '\n' + message['content']
    + '<|im_end|>' + '\n' }})";
inline constexpr absl::string_view kChatMlShorterMessage =
    R"({{ '<|im_start|>' + message['role'] + '\n' + message['content']
    + '<|im_end|>\n' }})";
inline constexpr absl::string_view kChatMlEnd =
    R"({% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\n' }}{% endif %})";

// Alpaca and Vicuna came without templates. These say in Jinja what
// stanford_alpaca's "prompt_no_input" and FastChat's "vicuna_v1.1" lay out, for
// checkpoints that are given one.
inline constexpr absl::string_view kAlpacaOriginal =
    R"({{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ messages[0]['content'] }}{% set loop_messages = messages[1:] %}
{% else %}
{{ 'Below is an instruction that describes a task. Write a response that )"
    R"(appropriately completes the request.'
    }}{% set loop_messages = messages %}
{% endif %}
{% for message in loop_messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate )"
    R"(user/assistant/user/assistant/...') }}{% endif %}
{% if message['role'] == 'user' %}
{{ '\n\n### Instruction:\n' + message['content']
    }}{% elif message['role'] == 'assistant' %}
{{ '\n\n### Response:' + message['content'] + eos_token }}{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ '\n\n### Response:' }}{% endif %})";
inline constexpr absl::string_view kVicunaOriginal =
    R"({{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ messages[0]['content'] + ' ' }}{% set loop_messages = messages[1:] %}
{% else %}
{{ 'A chat between a curious user and an artificial intelligence assistant. )"
    R"(The assistant gives helpful, detailed, and polite answers to the )"
    R"(user\'s questions. ' }}{% set loop_messages = messages %}
{% endif %}
{% for message in loop_messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate )"
    R"(user/assistant/user/assistant/...') }}{% endif %}
{% if message['role'] == 'user' %}
{{ 'USER: ' + message['content'] + ' '
    }}{% elif message['role'] == 'assistant' %}
{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ 'ASSISTANT:' }}{% endif %})";

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_CHAT_ORIGINALS_H_
