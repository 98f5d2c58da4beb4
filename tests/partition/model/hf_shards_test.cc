#include "partition/model/hf_shards.h"

#include <filesystem>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Code = absl::StatusCode;
using Json = nlohmann::json;

constexpr char kIndex[] = "model.safetensors.index.json";

struct Shards {
  Json weight_map;
  std::map<std::string, SafetensorsBuilder> files;
};

// Tensors dealt out to three files.
Shards ThreeShards(const ModelSpec& spec) {
  Shards shards;
  int next = 0;
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    const std::string file =
        "part-" + std::to_string(next++ % 3) + ".safetensors";
    shards.files[file].Patterned(shape, spec.dtype);
    shards.weight_map[shape.name] = file;
  }
  return shards;
}

void WriteShards(const TemporaryFolder& folder, const Shards& shards) {
  for (const auto& [name, builder] : shards.files) {
    folder.Write(name, builder.Build());
  }
  folder.Write(kIndex, Json({{"metadata", {{"total_size", 1}}},
                             {"weight_map", shards.weight_map}})
                           .dump());
}

absl::StatusOr<HfShards> Open(const TemporaryFolder& folder) {
  FingerprintBuilder fingerprint;
  return OpenHfShards(folder.path(), fingerprint);
}

TEST(HfShardsTest, CollectsTheTensorsOfAllFiles) {
  const TemporaryFolder folder;
  const ModelSpec spec = SmallSpec();
  WriteShards(folder, ThreeShards(spec));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const HfShards shards, Open(folder));
  EXPECT_EQ(shards.files.size(), 3u);
  EXPECT_EQ(shards.tensors.size(), ExpectedTensors(spec).size());
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    const HfShards::Place& place = shards.tensors.at(shape.name);
    float last;
    CARAVAN_ASSERT_OK(shards.files[place.file]->Read(
        place.offset + (shape.rows * shape.cols - 1) * 4,
        {reinterpret_cast<std::byte*>(&last), 4}));
    EXPECT_EQ(last, Pattern(shape.name, shape.rows - 1, shape.cols - 1));
  }
}

TEST(HfShardsTest, OneFileGoesBeforeAnIndex) {
  const TemporaryFolder folder;
  WriteShards(folder, ThreeShards(SmallSpec()));
  folder.Write("model.safetensors",
               SafetensorsBuilder()
                   .Tensor("t", "F32", {1}, std::string(4, 'x'))
                   .Build());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const HfShards shards, Open(folder));
  EXPECT_EQ(shards.tensors.size(), 1u);
}

struct Refusal {
  std::string name;
  std::function<void(const TemporaryFolder&)> write;
  Code code;
  std::string file;
  std::string fragment;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

// Good shards, changed.
std::function<void(const TemporaryFolder&)> Sharded(
    const std::function<void(Shards&)>& change) {
  return [change](const TemporaryFolder& folder) {
    Shards shards = ThreeShards(SmallSpec());
    change(shards);
    WriteShards(folder, shards);
  };
}

std::function<void(const TemporaryFolder&)> IndexText(const std::string& text) {
  return [text](const TemporaryFolder& folder) { folder.Write(kIndex, text); };
}

std::vector<Refusal> Refusals() {
  const Code invalid = Code::kInvalidArgument;
  const std::string norm(kFinalNorm);
  const std::string head(kHead);
  return {
      {"index_malformed", IndexText("{"), invalid, kIndex, "not valid JSON"},
      {"index_key_twice", IndexText(R"({"weight_map": {"a": "b.safetensors",
                                    "a": "b.safetensors"}})"),
       invalid, kIndex, "\"a\" occurs twice"},
      {"index_no_map", IndexText("{}"), invalid, kIndex, "weight_map"},
      {"index_number", IndexText(R"({"weight_map": {"a": 1}})"), invalid,
       kIndex, "\"a\": the file must be a string"},
      {"index_leads_out",
       IndexText(R"({"weight_map": {"a": "../b.safetensors"}})"), invalid,
       kIndex, "../b.safetensors"},
      {"index_absolute",
       IndexText(R"({"weight_map": {"a": "/b.safetensors"}})"), invalid, kIndex,
       "/b.safetensors"},
      {"index_other_kind", IndexText(R"({"weight_map": {"a": "b.bin"}})"),
       invalid, kIndex, "b.bin"},
      {"shard_missing",
       Sharded([](Shards& s) { s.files.erase("part-1.safetensors"); }),
       Code::kNotFound, "part-1.safetensors", "No such file"},
      {"shard_malformed",
       Sharded([](Shards& s) { s.files["part-1.safetensors"].data += "x"; }),
       invalid, "part-1.safetensors", "last tensor ends"},
      {"tensor_not_in_shard",
       Sharded([](Shards& s) { s.weight_map["x"] = "part-0.safetensors"; }),
       invalid, kIndex, "\"x\" is not in part-0.safetensors"},
      {"tensor_not_listed",
       Sharded([norm](Shards& s) { s.weight_map.erase(norm); }), invalid,
       kIndex, "model.norm.weight\" is in"},
      {"tensor_listed_elsewhere", Sharded([head](Shards& s) {
         s.weight_map[head] = s.weight_map[head] == "part-0.safetensors"
                                  ? "part-1.safetensors"
                                  : "part-0.safetensors";
       }),
       invalid, kIndex, "but listed in"},
      {"tensor_in_two_shards", Sharded([norm](Shards& s) {
         for (auto& [file, builder] : s.files) {
           if (!builder.header.contains(norm)) {
             builder.Tensor(norm, "F32", {48}, std::string(192, 'x'));
           }
         }
       }),
       invalid, ".safetensors", "model.norm.weight\" is"},
  };
}

class HfShardsRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(HfShardsRefusalTest, NamesFileAndReason) {
  const TemporaryFolder folder;
  GetParam().write(folder);
  EXPECT_THAT(Open(folder),
              StatusIs(GetParam().code, AllOf(HasSubstr(folder.path()),
                                              HasSubstr(GetParam().file),
                                              HasSubstr(GetParam().fragment))));
}

INSTANTIATE_TEST_SUITE_P(All, HfShardsRefusalTest,
                         ::testing::ValuesIn(Refusals()),
                         [](const ::testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace caravan::partition
