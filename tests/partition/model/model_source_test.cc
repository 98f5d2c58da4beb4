#include "partition/model/model_source.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/partition/model/checkpoint_builder.h"
#include "tests/partition/model/gguf_builder.h"
#include "tests/partition/model/temporary_folder.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

TEST(OpenModelTest, OpensFoldersAsSafetensors) {
  const TemporaryFolder folder;
  folder.Write("config.json", ConfigJson(SmallSpec()).dump());
  SafetensorsBuilder builder;
  for (const NamedShape& shape : ExpectedTensors(SmallSpec())) {
    builder.Patterned(shape, DType::kFloat32);
  }
  folder.Write("model.safetensors", builder.Build());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source,
                               OpenModel({.path = folder.path()}));
  const std::string norm(kFinalNorm);
  EXPECT_EQ(ReadFloats(*source, norm, {0, 1, 0, 48}),
            PatternFloats(norm, {0, 1, 0, 48}));
}

TEST(OpenModelTest, OpensGgufByItsName) {
  const TemporaryFolder folder;
  const std::string path = folder.Write(
      "m.GGUF", GgufBuilder().String("general.architecture", "gemma").Build());
  EXPECT_THAT(OpenModel({.path = path}),
              StatusIs(Code::kUnimplemented,
                       AllOf(HasSubstr(path), HasSubstr("gemma"))));
}

TEST(OpenModelTest, MakesDummyWeightsFromConfigs) {
  const TemporaryFolder folder;
  folder.Write("generation_config.json", R"({"eos_token_id": 7})");
  const std::string file =
      folder.Write("config.json", ConfigJson(SmallSpec()).dump());
  for (const std::string& path : {folder.path(), file}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const auto source,
        OpenModel({.path = path, .load_format = LoadFormat::kDummy}));
    EXPECT_EQ(source->spec().vocab_size, 37);
    EXPECT_THAT(source->spec().eos_tokens, ElementsAre(2, 7));
  }
}

TEST(OpenModelTest, MakesDummyWeightsByName) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto source,
      OpenModel({.path = "llama-2-70b", .load_format = LoadFormat::kDummy}));
  EXPECT_EQ(source->spec().num_layers, 80);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto other,
                               OpenModel({.path = "llama-2-70b",
                                          .load_format = LoadFormat::kDummy,
                                          .seed = 1}));
  EXPECT_NE(source->Fingerprint(), other->Fingerprint());
}

TEST(OpenModelTest, OverridesConfigs) {
  const TemporaryFolder folder;
  folder.Write("config.json", ConfigJson(SmallSpec()).dump());
  constexpr char kOneLayer[] = R"({"num_hidden_layers": 1})";
  for (const std::string& path : {folder.path(), std::string("llama-2-7b")}) {
    const ModelSourceOptions options{.path = path,
                                     .load_format = LoadFormat::kDummy};
    ModelSourceOptions overridden = options;
    overridden.hf_overrides = kOneLayer;
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto source, OpenModel(options));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto smaller, OpenModel(overridden));
    EXPECT_EQ(smaller->spec().num_layers, 1);
    EXPECT_EQ(smaller->spec().hidden_size, source->spec().hidden_size);
    EXPECT_NE(smaller->Fingerprint(), source->Fingerprint());
  }
  // A checkpoint must have the tensors that are asked for.
  SafetensorsBuilder builder;
  ModelSpec one_layer = SmallSpec();
  one_layer.num_layers = 1;
  for (const NamedShape& shape : ExpectedTensors(one_layer)) {
    builder.Patterned(shape, DType::kFloat32);
  }
  folder.Write("model.safetensors", builder.Build());
  EXPECT_FALSE(OpenModel({.path = folder.path()}).ok());
  CARAVAN_EXPECT_OK(
      OpenModel({.path = folder.path(), .hf_overrides = kOneLayer}));
  EXPECT_THAT(OpenModel({.path = "m.gguf", .hf_overrides = kOneLayer}),
              StatusIs(Code::kInvalidArgument, HasSubstr("--hf-overrides")));
}

TEST(OpenModelTest, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_THAT(OpenModel({.path = folder.Path("none")}),
              StatusIs(Code::kNotFound, HasSubstr(folder.Path("none"))));
  EXPECT_THAT(OpenModel({.path = "llama-2-7b"}),
              StatusIs(Code::kNotFound, HasSubstr("dummy")));
  EXPECT_THAT(OpenModel({.path = "llama-9", .load_format = LoadFormat::kDummy}),
              StatusIs(Code::kNotFound,
                       AllOf(HasSubstr("llama-9"), HasSubstr("llama-2-7b"))));
  EXPECT_THAT(OpenModel({.path = folder.path()}),
              StatusIs(Code::kNotFound, HasSubstr("config.json")));
  EXPECT_THAT(OpenModel({.path = folder.Path("none.gguf")}),
              StatusIs(Code::kNotFound, HasSubstr("none.gguf")));
  EXPECT_THAT(OpenModel({.path = folder.Write("weights.bin", "x")}),
              StatusIs(Code::kInvalidArgument, HasSubstr("weights.bin")));
}

}  // namespace
}  // namespace caravan::partition
