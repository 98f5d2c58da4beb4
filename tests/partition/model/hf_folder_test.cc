#include "partition/model/hf_folder.h"

#include "gtest/gtest.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

TEST(HfFolderTest, ReadsConfigAndGenerationConfig) {
  const TemporaryFolder folder;
  const std::string config = ConfigJson(SmallSpec()).dump();
  const std::string file = folder.Write("config.json", config);
  CARAVAN_ASSERT_OK_AND_ASSIGN(HfConfiguration read,
                               ReadHfConfiguration(folder.path()));
  EXPECT_EQ(read.text, config);
  EXPECT_EQ(read.generation_text, "");
  EXPECT_EQ(read.spec.vocab_size, 37);
  EXPECT_THAT(read.spec.eos_tokens, ElementsAre(2));

  const std::string generation = R"({"eos_token_id": [2, 5]})";
  folder.Write("generation_config.json", generation);
  CARAVAN_ASSERT_OK_AND_ASSIGN(read, ReadHfConfiguration(file));
  EXPECT_EQ(read.generation_text, generation);
  EXPECT_THAT(read.spec.eos_tokens, ElementsAre(2, 5));
}

TEST(HfFolderTest, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(ReadHfConfiguration(folder.path()),
              StatusIs(Code::kNotFound, HasSubstr(folder.Path("config.json"))));
  folder.Write("config.json", ConfigJson(SmallSpec()).dump());
  folder.Write("generation_config.json", "[]");
  EXPECT_THAT(ReadHfConfiguration(folder.path()),
              StatusIs(Code::kInvalidArgument,
                       AllOf(HasSubstr(folder.Path("generation_config.json")),
                             HasSubstr("must be a JSON object"))));
  folder.Write("config.json", "{}");
  EXPECT_THAT(ReadHfConfiguration(folder.path()),
              StatusIs(Code::kInvalidArgument,
                       AllOf(HasSubstr(folder.Path("config.json")),
                             HasSubstr("architectures"))));
}

}  // namespace
}  // namespace caravan::partition
