#include "partition/model/hf_source.h"

#include <filesystem>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

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
using Json = nlohmann::json;

constexpr char kSingle[] = "model.safetensors";
const std::string kMatrix = LayerTensor(1, kDown);  // (48, 50)

SafetensorsBuilder AllTensors(const ModelSpec& spec) {
  SafetensorsBuilder builder;
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    builder.Patterned(shape, spec.dtype);
  }
  return builder;
}

void WriteSingle(const TemporaryFolder& folder, const ModelSpec& spec) {
  folder.Write("config.json", ConfigJson(spec).dump());
  folder.Write(kSingle, AllTensors(spec).Build());
}

std::unique_ptr<ModelSource> Open(const TemporaryFolder& folder) {
  auto source = OpenHfSource(folder.path());
  CARAVAN_EXPECT_OK(source);
  return source.ok() ? *std::move(source) : nullptr;
}

void ExpectAllPatterns(const ModelSource& source, const ModelSpec& spec) {
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    const TensorSlice whole = {0, shape.rows, 0, shape.cols};
    EXPECT_EQ(ReadFloats(source, shape.name, whole),
              PatternFloats(shape.name, whole))
        << shape.name;
  }
}

TEST(HfSourceTest, ReadsEveryElementType) {
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    const TemporaryFolder folder;
    ModelSpec spec = SmallSpec();
    spec.dtype = dtype;
    WriteSingle(folder, spec);
    const auto source = Open(folder);
    ASSERT_NE(source, nullptr);
    EXPECT_EQ(source->spec().dtype, dtype);
    ExpectAllPatterns(*source, spec);
  }
}

TEST(HfSourceTest, ReadsSlicesAndNothingElse) {
  const TemporaryFolder folder;
  ModelSpec spec = SmallSpec();
  spec.dtype = DType::kBFloat16;
  WriteSingle(folder, spec);
  const auto source = Open(folder);
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->BytesRead(), 0);  // headers only
  int64_t expected = 0;
  for (const TensorSlice& slice :
       std::vector<TensorSlice>{{0, 48, 0, 50},    // all
                                {7, 20, 0, 50},    // rows
                                {0, 48, 13, 29},   // columns
                                {5, 9, 49, 50},    // both
                                {47, 48, 49, 50},  // the last element
                                {3, 3, 0, 50},     // none
                                {0, 48, 8, 8}}) {
    EXPECT_EQ(ReadFloats(*source, kMatrix, slice),
              PatternFloats(kMatrix, slice));
    expected += slice.count() * 2;
    EXPECT_EQ(source->BytesRead(), expected);
    // Nothing is quantized: as stored is the same.
    std::vector<std::byte> stored(slice.count() * 2);
    std::vector<std::byte> read(slice.count() * 2);
    CARAVAN_EXPECT_OK(
        source->ReadStored(kMatrix, slice, absl::MakeSpan(stored)));
    CARAVAN_EXPECT_OK(source->Read(kMatrix, slice, absl::MakeSpan(read)));
    EXPECT_EQ(stored, read);
    expected += 2 * slice.count() * 2;
    EXPECT_EQ(source->BytesRead(), expected);
  }
  EXPECT_FALSE(source->spec().is_quantized());
}

TEST(HfSourceTest, TypesAreThoseOfTheFile) {
  const TemporaryFolder folder;
  const ModelSpec spec = SmallSpec();
  folder.Write("config.json", ConfigJson(spec).dump());  // float32
  SafetensorsBuilder builder;
  for (const NamedShape& shape : ExpectedTensors(spec)) {
    builder.Patterned(shape, shape.rows == 1       ? DType::kFloat32
                             : shape.name == kHead ? DType::kBFloat16
                                                   : DType::kFloat16);
  }
  folder.Write(kSingle, builder.Build());
  const auto source = Open(folder);
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->spec().dtype, DType::kFloat16);
  EXPECT_EQ(source->Find(kFinalNorm)->dtype(), DType::kFloat32);
  EXPECT_EQ(source->Find(kHead)->dtype(), DType::kBFloat16);
  ExpectAllPatterns(*source, spec);
}

TEST(HfSourceTest, TiedEmbeddingsHaveNoHead) {
  const TemporaryFolder folder;
  ModelSpec spec = SmallSpec();
  SafetensorsBuilder with_head = AllTensors(spec);
  spec.tied_embeddings = true;
  folder.Write("config.json", ConfigJson(spec).dump());
  for (const std::string& file :
       {with_head.Build(), AllTensors(spec).Build()}) {
    folder.Write(kSingle, file);
    const auto source = Open(folder);
    ASSERT_NE(source, nullptr);
    EXPECT_TRUE(source->spec().tied_embeddings);
    EXPECT_THAT(source->Find(kHead), StatusIs(Code::kNotFound));
    ExpectAllPatterns(*source, spec);
  }
}

TEST(HfSourceTest, OldFilesMayHoldRopeFrequencies) {
  const TemporaryFolder folder;
  const ModelSpec spec = SmallSpec();
  folder.Write("config.json", ConfigJson(spec).dump());
  SafetensorsBuilder builder = AllTensors(spec);
  const std::string name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  builder.Tensor(name, "F32", {4}, std::string(16, 'x'));
  folder.Write(kSingle, builder.Build());
  const auto source = Open(folder);
  ASSERT_NE(source, nullptr);
  EXPECT_THAT(source->Find(name), StatusIs(Code::kNotFound));
}

TEST(HfSourceTest, GenerationConfigAddsEndTokens) {
  const TemporaryFolder folder;
  WriteSingle(folder, SmallSpec());
  folder.Write("generation_config.json", R"({"eos_token_id": [2, 9]})");
  const auto source = Open(folder);
  ASSERT_NE(source, nullptr);
  EXPECT_THAT(source->spec().eos_tokens, ElementsAre(2, 9));
}

TEST(HfSourceTest, FingerprintTellsCheckpointsApart) {
  const ModelSpec spec = SmallSpec();
  const auto fingerprint =
      [&](const std::function<void(const TemporaryFolder&)>& change) {
        const TemporaryFolder folder;
        WriteSingle(folder, spec);
        change(folder);
        const auto source = Open(folder);
        return source == nullptr ? "" : source->Fingerprint();
      };
  const std::string original = fingerprint([](const TemporaryFolder&) {});
  EXPECT_EQ(original.size(), 64u);
  EXPECT_EQ(fingerprint([](const TemporaryFolder&) {}), original);
  EXPECT_NE(fingerprint([&](const TemporaryFolder& folder) {
              Json config = ConfigJson(spec);
              config["rope_theta"] = 20000;
              folder.Write("config.json", config.dump());
            }),
            original);
  EXPECT_NE(fingerprint([](const TemporaryFolder& folder) {
              folder.Write("generation_config.json", "{}");
            }),
            original);
  EXPECT_NE(fingerprint([&](const TemporaryFolder& folder) {
              ModelSpec half = spec;
              half.dtype = DType::kFloat16;
              folder.Write(kSingle, AllTensors(half).Build());
            }),
            original);
}

TEST(HfSourceTest, RefusesMisuse) {
  const TemporaryFolder folder;
  WriteSingle(folder, SmallSpec());
  const auto source = Open(folder);
  ASSERT_NE(source, nullptr);
  std::vector<std::byte> out(4);
  EXPECT_THAT(source->Read("none", {0, 1, 0, 1}, absl::MakeSpan(out)),
              StatusIs(Code::kNotFound));
  EXPECT_THAT(source->Read(kMatrix, {0, 49, 0, 1}, absl::MakeSpan(out)),
              StatusIs(Code::kInvalidArgument, HasSubstr("not inside")));
  EXPECT_THAT(source->Read(kMatrix, {0, 2, 0, 1}, absl::MakeSpan(out)),
              StatusIs(Code::kInvalidArgument, HasSubstr("8 bytes")));
}

TEST(HfSourceTest, FileCutShortAfterOpeningIsDataLoss) {
  const TemporaryFolder folder;
  WriteSingle(folder, SmallSpec());
  const auto source = Open(folder);
  ASSERT_NE(source, nullptr);
  std::filesystem::resize_file(folder.Path(kSingle), 5000);
  std::vector<std::byte> out(48 * 50 * 4);
  EXPECT_THAT(
      source->Read(kMatrix, {0, 48, 0, 50}, absl::MakeSpan(out)),
      StatusIs(Code::kDataLoss, AllOf(HasSubstr(kSingle), HasSubstr(kMatrix))));
}

struct Refusal {
  std::string name;
  std::function<void(const TemporaryFolder&)> spoil;  // a good folder
  Code code;
  std::string file;
  std::string fragment;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

// The good folder's model.safetensors, changed.
std::function<void(const TemporaryFolder&)> Tensors(
    const std::function<void(SafetensorsBuilder&)>& change) {
  return [change](const TemporaryFolder& folder) {
    SafetensorsBuilder builder = AllTensors(SmallSpec());
    change(builder);
    folder.Write(kSingle, builder.Build());
  };
}

std::function<void(const TemporaryFolder&)> Config(
    const std::function<void(Json&)>& change) {
  return [change](const TemporaryFolder& folder) {
    Json config = ConfigJson(SmallSpec());
    change(config);
    folder.Write("config.json", config.dump());
  };
}

std::vector<Refusal> Refusals() {
  const Code invalid = Code::kInvalidArgument;
  const std::string norm(kFinalNorm);
  return {
      {"no_config",
       [](const TemporaryFolder& folder) {
         std::filesystem::remove(folder.Path("config.json"));
       },
       Code::kNotFound, "config.json", "No such file"},
      {"config_huge",
       [](const TemporaryFolder& folder) {
         folder.Write("config.json", "{" + std::string(2 << 20, ' ') + "}");
       },
       invalid, "config.json", "too large"},
      {"config_malformed", Config([](Json& c) { c["vocab_size"] = "x"; }),
       invalid, "config.json", "vocab_size"},
      {"config_unsupported", Config([](Json& c) { c["hidden_act"] = "gelu"; }),
       Code::kUnimplemented, "config.json", "hidden_act"},
      {"generation_config",
       [](const TemporaryFolder& folder) {
         folder.Write("generation_config.json", R"({"eos_token_id": "x"})");
       },
       invalid, "generation_config.json", "eos_token_id"},
      {"no_weights",
       [](const TemporaryFolder& folder) {
         std::filesystem::remove(folder.Path(kSingle));
       },
       Code::kNotFound, "", "no weights"},
      {"pytorch_only",
       [](const TemporaryFolder& folder) {
         std::filesystem::remove(folder.Path(kSingle));
         folder.Write("pytorch_model.bin", "x");
       },
       Code::kNotFound, "", ".bin files are not read"},
      {"weights_malformed",
       [](const TemporaryFolder& folder) { folder.Write(kSingle, "short"); },
       Code::kDataLoss, kSingle, "header length"},
      {"weights_are_a_folder",
       [](const TemporaryFolder& folder) {
         std::filesystem::remove(folder.Path(kSingle));
         std::filesystem::create_directory(folder.Path(kSingle));
       },
       invalid, kSingle, "not a regular file"},
      {"layers_more", Config([](Json& c) { c["num_hidden_layers"] = 3; }),
       invalid, "", "model.layers.2.input_layernorm.weight\" is missing"},
      {"layers_fewer", Config([](Json& c) { c["num_hidden_layers"] = 1; }),
       invalid, "", "model.layers.1.input_layernorm.weight\" is not part"},
      {"vocabulary_differs", Config([](Json& c) { c["vocab_size"] = 38; }),
       invalid, "",
       "model.embed_tokens.weight\" has the shape (37, 48), must be (38, 48)"},
      {"transposed", Tensors([](SafetensorsBuilder& b) {
         b.header[kMatrix]["shape"] = {50, 48};
       }),
       invalid, "", kMatrix + "\" has the shape (50, 48)"},
      {"bias", Tensors([](SafetensorsBuilder& b) {
         b.Tensor("model.layers.0.self_attn.q_proj.bias", "F32", {48},
                  std::string(192, 'x'));
       }),
       invalid, "", "self_attn.q_proj.bias\" is not part"},
      {"head_missing",
       [](const TemporaryFolder& folder) {
         ModelSpec spec = SmallSpec();
         spec.tied_embeddings = true;
         folder.Write(kSingle, AllTensors(spec).Build());
       },
       invalid, "", "lm_head.weight\" is missing"},
      {"quantized", Tensors([norm](SafetensorsBuilder& b) {
         b.header[norm]["dtype"] = "I8";
       }),
       Code::kUnimplemented, kSingle, norm},
  };
}

class HfSourceRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(HfSourceRefusalTest, NamesFileAndReason) {
  const TemporaryFolder folder;
  WriteSingle(folder, SmallSpec());
  CARAVAN_ASSERT_OK(OpenHfSource(folder.path()));
  GetParam().spoil(folder);
  EXPECT_THAT(OpenHfSource(folder.path()),
              StatusIs(GetParam().code, AllOf(HasSubstr(folder.path()),
                                              HasSubstr(GetParam().file),
                                              HasSubstr(GetParam().fragment))));
}

INSTANTIATE_TEST_SUITE_P(All, HfSourceRefusalTest,
                         ::testing::ValuesIn(Refusals()),
                         [](const ::testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace caravan::partition
