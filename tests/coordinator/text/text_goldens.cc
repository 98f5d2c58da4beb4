#include "tests/coordinator/text/text_goldens.h"

#include <fstream>
#include <iterator>

#include "base/check.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {

std::string GoldenPath(const std::string& name) {
  return "tests/goldens/text/" + name;
}

std::string ReadFileOrDie(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  CARAVAN_CHECK(stream.good());
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> GoldenStrings() {
  return nlohmann::json::parse(ReadFileOrDie(GoldenPath("strings.json")))
      .get<std::vector<std::string>>();
}

std::vector<std::vector<int32_t>> GoldenIds(const std::string& name) {
  return nlohmann::json::parse(ReadFileOrDie(GoldenPath(name)))
      .get<std::vector<std::vector<int32_t>>>();
}

void ExpectGoldenIds(const Tokenizer& tokenizer, const std::string& ids_name) {
  const std::vector<std::string> strings = GoldenStrings();
  const std::vector<std::vector<int32_t>> ids = GoldenIds(ids_name);
  ASSERT_EQ(strings.size(), 2000u);
  ASSERT_EQ(ids.size(), strings.size());
  for (size_t i = 0; i < strings.size(); ++i) {
    EXPECT_THAT(tokenizer.Encode(strings[i]),
                testing::IsOkAndHolds(::testing::ElementsAreArray(ids[i])))
        << "string " << i << ": " << ::testing::PrintToString(strings[i]);
  }
}

}  // namespace caravan::coordinator
