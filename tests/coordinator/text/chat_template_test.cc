#include "coordinator/text/chat_template.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/text/composed_tokenizer.h"
#include "coordinator/text/tokenizer_json.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/coordinator/text/text_goldens.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using partition::TemporaryFolder;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;
using Json = nlohmann::json;

// The templates by name, then the cases.
const Json& Goldens() {
  static const Json* const goldens =
      new Json(Json::parse(ReadFileOrDie(GoldenPath("chats.json"))));
  return *goldens;
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> Detect(const std::string& jinja) {
  const TemporaryFolder folder;
  folder.Write("tokenizer_config.json", Json{{"chat_template", jinja}}.dump());
  return DetectChatTemplate(folder.path());
}

std::vector<ChatMessage> Messages(const Json& golden) {
  std::vector<ChatMessage> messages;
  for (const Json& message : golden["messages"]) {
    messages.push_back({message["role"], message["content"]});
  }
  return messages;
}

std::string Text(const std::vector<ChatPiece>& pieces) {
  std::string text;
  for (const ChatPiece& piece : pieces) text += piece.text;
  return text;
}

// Conversations that the originals take without a word and lose a part of, or
// make into what the model never saw: ours says so.
bool IsRefusedByOursAlone(const std::string& name, const Json& golden) {
  if (name != "llama-2" && name != "alpaca" && name != "vicuna") return false;
  for (size_t i = 1; i < golden["messages"].size(); ++i) {
    if (golden["messages"][i]["role"] == "system") return true;
  }
  return false;
}

TEST(ChatTemplateTest, TextsEqualWhatJinjaMakesOfTheOriginals) {
  int rendered = 0;
  int refused = 0;
  for (size_t i = 1; i < Goldens().size(); ++i) {
    const Json& golden = Goldens()[i];
    const std::string name = golden["template"];
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, Detect(Goldens()[0][name]));
    const auto pieces =
        chat->Render(Messages(golden), golden["add_generation_prompt"]);
    if (golden["text"].is_null() || IsRefusedByOursAlone(name, golden)) {
      EXPECT_THAT(pieces, StatusIs(absl::StatusCode::kInvalidArgument))
          << golden;
      ++refused;
      continue;
    }
    ASSERT_THAT(pieces, IsOk()) << golden;
    EXPECT_EQ(Text(*pieces), golden["text"].get<std::string>()) << golden;
    ++rendered;
  }
  EXPECT_GT(rendered, 150);
  EXPECT_GT(refused, 10);
}

std::unique_ptr<Tokenizer> GoldenTokenizer(const std::string& label) {
  Json file = Json::parse(ReadFileOrDie(GoldenPath(
      (label == "metaspace" ? "llama2" : label) + "/tokenizer.json")));
  if (label == "metaspace") {
    file["normalizer"] = nullptr;
    file["pre_tokenizer"] = {{"type", "Metaspace"},
                             {"replacement", "\u2581"},
                             {"prepend_scheme", "first"},
                             {"split", false}};
  }
  auto parts = ReadTokenizerJson(file.dump());
  EXPECT_THAT(parts, IsOk());
  if (!parts.ok()) return nullptr;
  if (label == "llama2" || label == "metaspace") parts->eos_token = 2;
  return std::make_unique<ComposedTokenizer>(*std::move(parts));
}

TEST(ChatTemplateTest, IdsEqualHuggingFacesOfTheWholeText) {
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  for (const char* label : {"gpt2", "llama3", "llama2", "metaspace"}) {
    tokenizers[label] = GoldenTokenizer(label);
    ASSERT_NE(tokenizers[label], nullptr);
  }
  int compared = 0;
  for (size_t i = 1; i < Goldens().size(); ++i) {
    const Json& golden = Goldens()[i];
    const std::string name = golden["template"];
    if (!golden.contains("ids") || IsRefusedByOursAlone(name, golden)) continue;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, Detect(Goldens()[0][name]));
    for (const auto& [label, ids] : golden["ids"].items()) {
      EXPECT_THAT(
          EncodeChat(*chat, *tokenizers[label], Messages(golden),
                     golden["add_generation_prompt"]),
          IsOkAndHolds(ElementsAreArray(ids.get<std::vector<int32_t>>())))
          << label << " " << golden["messages"];
      ++compared;
    }
  }
  EXPECT_GT(compared, 150);
}

TEST(ChatTemplateTest, ContentNeverBecomesAControlToken) {
  for (const char* name :
       {"llama-2", "alpaca", "vicuna", "chatml", "llama-3"}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, MakeChatTemplate(name));
    for (const char* label : {"gpt2", "llama3", "llama2"}) {
      const auto tokenizer = GoldenTokenizer(label);
      ASSERT_NE(tokenizer, nullptr);
      const auto count_control = [&](const std::string& content) {
        int count = 0;
        for (const int32_t id :
             EncodeChat(*chat, *tokenizer,
                        {{"system", content}, {"user", content}}, true)
                 .value_or(std::vector<int32_t>())) {
          count += tokenizer->IsSpecial(id);
        }
        return count;
      };
      std::string all;
      for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
        if (tokenizer->IsSpecial(id)) all += tokenizer->TokenBytes(id);
      }
      EXPECT_EQ(count_control(all), count_control("x")) << name << label;
    }
  }
}

TEST(ChatTemplateTest, BosAndEosAreTheTokenizersOwn) {
  const auto tokenizer = GoldenTokenizer("llama3");  // bos is <|begin_of_text|>
  ASSERT_NE(tokenizer, nullptr);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, MakeChatTemplate("alpaca"));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto ids, EncodeChat(*chat, *tokenizer, {{"user", "x"}}, true));
  EXPECT_EQ(ids[0], tokenizer->bos_token());
}

TEST(ChatTemplateTest, MakesAllFiveByName) {
  for (const char* name :
       {"llama-2", "alpaca", "vicuna", "chatml", "llama-3"}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, MakeChatTemplate(name));
    EXPECT_EQ(chat->name(), name);
  }
  EXPECT_THAT(MakeChatTemplate("mistral"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("mistral"), HasSubstr("llama-2"),
                             HasSubstr("alpaca"), HasSubstr("vicuna"),
                             HasSubstr("chatml"), HasSubstr("llama-3"))));
}

TEST(ChatTemplateTest, RefusesRolesByIndex) {
  for (const char* name :
       {"llama-2", "alpaca", "vicuna", "chatml", "llama-3"}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, MakeChatTemplate(name));
    EXPECT_THAT(chat->Render({}, true),
                StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(chat->Render({{"user", "x"}, {"root", "y"}}, true),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("messages[1]"), HasSubstr("root"))));
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, MakeChatTemplate("llama-2"));
  EXPECT_THAT(
      chat->Render({{"system", "s"}, {"user", "x"}, {"user", "y"}}, true),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("messages[2]")));
}

TEST(DetectChatTemplateTest, KnowsTheOriginals) {
  for (const auto& [name, jinja] : Goldens()[0].items()) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, Detect(jinja));
    const std::string expected = name == "smollm2" ? "chatml" : name;
    EXPECT_EQ(chat->name(), expected.substr(0, chat->name().size()));
  }
}

TEST(DetectChatTemplateTest, TakesTheDefaultSystemMessageFromTheOriginal) {
  std::string jinja = Goldens()[0]["smollm2"];
  const std::string smol =
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
  jinja.replace(jinja.find(smol), smol.size(), "Du bist's, \\n 😀.");
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto chat,
      Detect(jinja.replace(jinja.find("Du bist's"), 9, "Du bist\\'s")));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto pieces,
                               chat->Render({{"user", "x"}}, false));
  EXPECT_EQ(Text(pieces),
            "<|im_start|>system\nDu bist's, \n 😀.<|im_end|>\n"
            "<|im_start|>user\nx<|im_end|>\n");
}

TEST(DetectChatTemplateTest, LayoutMakesNoDifference) {
  const std::string chatml =
      "{% for message in messages %}\n"
      "{{ \"<|im_start|>\" + message[\"role\"] + '\\n' + message['content'] "
      "+ '<|im_end|>\\n' }}{% endfor %}\r\n"
      "  {% if add_generation_prompt %}\n"
      "{{ '<|im_start|>assistant\\n' }}{% endif %}\n";
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto chat, Detect(chatml));
  EXPECT_EQ(chat->name(), "chatml");
}

TEST(DetectChatTemplateTest, AChangeThatMattersMakesADifference) {
  for (const auto& [name, jinja_field] : Goldens()[0].items()) {
    const std::string jinja = jinja_field;
    for (const std::string& changed :
         {jinja + "x", "x" + jinja, "{{ 'x' }}" + jinja,
          jinja.substr(0, jinja.size() - 3), jinja + "{% endif %}",
          std::string(jinja).replace(jinja.find("message"), 7, "massage"),
          std::string(jinja).replace(jinja.find("content"), 7, "text"),
          std::string(jinja).insert(jinja.rfind("{%"), "-")}) {
      EXPECT_THAT(Detect(changed), StatusIs(absl::StatusCode::kNotFound,
                                            HasSubstr("--chat-template")))
          << changed;
    }
  }
  for (const std::string jinja : {"", "{{", "{% '", "{{ '\\", "{# x #}"}) {
    EXPECT_THAT(Detect(jinja), StatusIs(absl::StatusCode::kNotFound)) << jinja;
  }
}

TEST(DetectChatTemplateTest, ReadsAllPlacesOfAFolder) {
  const std::string llama3 = Goldens()[0]["llama-3"];
  const std::string chatml = Goldens()[0]["chatml"];
  const TemporaryFolder folder;
  EXPECT_THAT(
      DetectChatTemplate(folder.path()),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("--chat-template")));
  folder.Write("tokenizer_config.json",
               Json{{"chat_template",
                     {{{"name", "tools"}, {"template", "x"}},
                      {{"name", "default"}, {"template", llama3}}}}}
                   .dump());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto listed,
                               DetectChatTemplate(folder.path()));
  EXPECT_EQ(listed->name(), "llama-3");
  folder.Write("chat_template.jinja", chatml);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto file,
                               DetectChatTemplate(folder.path()));
  EXPECT_EQ(file->name(), "chatml");
}

}  // namespace
}  // namespace caravan::coordinator
