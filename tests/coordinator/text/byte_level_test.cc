#include "coordinator/text/byte_level.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/coordinator/text/text_goldens.h"

namespace caravan::coordinator {
namespace {

using ::testing::Optional;

TEST(ByteLevelTest, KnownSpellings) {
  EXPECT_THAT(BytesOfByteLevel("Ġthe"), Optional(std::string(" the")));
  EXPECT_THAT(BytesOfByteLevel("Ċ"), Optional(std::string("\n")));
  EXPECT_THAT(BytesOfByteLevel("Ã©"), Optional(std::string("é")));
  EXPECT_THAT(BytesOfByteLevel(""), Optional(std::string()));
  EXPECT_EQ(BytesOfByteLevel(" the"), std::nullopt);
  EXPECT_EQ(BytesOfByteLevel("中"), std::nullopt);
  EXPECT_EQ(BytesOfByteLevel("\xFF"), std::nullopt);
}

// The alphabet as `tokenizers` puts it into a vocabulary.
TEST(ByteLevelTest, EveryByteHasOneSpelling) {
  const auto file =
      nlohmann::json::parse(ReadFileOrDie(GoldenPath("gpt2/tokenizer.json")));
  std::set<std::string> bytes;
  for (const auto& [token, id] : file["model"]["vocab"].items()) {
    const auto spelled = BytesOfByteLevel(token);
    if (spelled.has_value() && spelled->size() == 1) bytes.insert(*spelled);
  }
  EXPECT_EQ(bytes.size(), 256u);
}

}  // namespace
}  // namespace caravan::coordinator
