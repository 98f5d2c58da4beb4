// A layer of attention with random weights: on a backend, and in double
// arithmetic.
#ifndef CARAVAN_TESTS_CONFORMANCE_ATTENTION_MODEL_H_
#define CARAVAN_TESTS_CONFORMANCE_ATTENTION_MODEL_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/backend_products_suite.h"

namespace caravan::worker {

// One layer of attention with random weights.
struct AttentionModel {
  AttentionModel(int num_kv_heads, std::vector<int> kv_head_of,
                 int64_t head_dim)
      : shape{static_cast<int>(kv_head_of.size()), num_kv_heads, head_dim,
              kv_head_of},
        qkv(RandomMatrix((shape.num_heads + 2 * num_kv_heads) * head_dim,
                         kHidden, 21, 0.5f)),
        norm(RandomMatrix(1, kHidden, 22)),
        cos{kPositions, head_dim / 2, {}},
        sin{kPositions, head_dim / 2, {}} {
    for (int64_t position = 0; position < kPositions; ++position) {
      for (int64_t i = 0; i < head_dim / 2; ++i) {
        const double angle = position * std::pow(10000.0, -2.0 * i / head_dim);
        cos.values.push_back(static_cast<float>(std::cos(angle)));
        sin.values.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }

  static constexpr int64_t kHidden = 44;
  static constexpr int64_t kPositions = 640;
  static constexpr float kEpsilon = 1e-5f;

  AttentionShape shape;
  HostMatrix qkv;
  HostMatrix norm;
  HostMatrix cos;
  HostMatrix sin;
};

inline constexpr DType kCacheDTypes[] = {DType::kFloat32, DType::kFloat16,
                                         DType::kBFloat16};

// What a cache of that type keeps of a number within its range.
inline double RoundToCache(double value, DType dtype) {
  const float narrow = static_cast<float>(value);
  switch (dtype) {
    case DType::kFloat32:
      return value;
    case DType::kFloat16:
      return Float16ToFloat(FloatToFloat16(narrow));
    case DType::kBFloat16:
      return BFloat16ToFloat(FloatToBFloat16(narrow));
  }
  return value;
}

// The model's second of two layers on a backend, with a cache.
class DeviceAttention final {
 public:
  static constexpr int64_t kNumBlocks = 64;

  DeviceAttention(Backend& backend, const AttentionModel& model,
                  DType dtype = DType::kFloat32)
      : backend_(backend),
        model_(model),
        norm_(backend, model.norm),
        cos_(backend, model.cos),
        sin_(backend, model.sin),
        rope_{cos_.tensor(), sin_.tensor()} {
    auto qkv = backend.LoadWeight(ReaderOf(model.qkv, WeightFormat::kFloat32),
                                  WeightFormat::kFloat32);
    EXPECT_THAT(qkv, testing::IsOk());
    qkv_ = *std::move(qkv);
    auto cache =
        backend.CreateKvCache({.num_layers = 2,
                               .num_blocks = kNumBlocks,
                               .num_kv_heads = model.shape.num_kv_heads,
                               .head_dim = model.shape.head_dim,
                               .dtype = dtype});
    EXPECT_THAT(cache, testing::IsOk());
    cache_ = *std::move(cache);
    CARAVAN_EXPECT_OK(
        backend.Reserve({.max_rows = AttentionModel::kPositions,
                         .max_sequences = 16,
                         .max_positions = AttentionModel::kPositions,
                         .attention = model.shape}));
    EXPECT_GE(cache_->bytes(), 2 * 2 * kNumBlocks * kKvBlockTokens *
                                   model.shape.num_kv_heads *
                                   model.shape.head_dim * ByteSize(dtype));
  }

  HostMatrix Step(const HostMatrix& x, const Batch& batch) {
    const AttentionLayer layer = {.shape = &model_.shape,
                                  .rope = &rope_,
                                  .cache = cache_.get(),
                                  .layer = 1};
    const int64_t width = model_.shape.num_heads * model_.shape.head_dim;
    const DeviceMatrix device_x(backend_, x);
    const DeviceMatrix queries(backend_, x.rows, width);
    const DeviceMatrix out(backend_, x.rows, width);
    CARAVAN_EXPECT_OK(backend_.AttentionInput(
        device_x.tensor(), {norm_.tensor(), AttentionModel::kEpsilon}, *qkv_,
        layer, batch, queries.tensor()));
    CARAVAN_EXPECT_OK(
        backend_.Attention(queries.tensor(), layer, batch, out.tensor()));
    return out.Read();
  }

 private:
  Backend& backend_;
  const AttentionModel& model_;
  const DeviceMatrix norm_;
  const DeviceMatrix cos_;
  const DeviceMatrix sin_;
  const RopeTables rope_;
  std::unique_ptr<Weight> qkv_;
  std::unique_ptr<KvCache> cache_;
};

// The same in double arithmetic for one sequence from position 0 on.
class ExactAttention final {
 public:
  struct Result {
    double value = 0;
    double tolerance = kTolerance;
  };

  ExactAttention(const AttentionModel& model, const HostMatrix& x,
                 DType dtype = DType::kFloat32)
      : model_(model), dtype_(dtype) {
    for (int64_t row = 0; row < x.rows; ++row) {
      const std::vector<double> normed =
          ExactNorm(x.Row(row), model.norm, AttentionModel::kEpsilon);
      std::vector<double> qkv;
      for (int64_t n = 0; n < model.qkv.rows; ++n) {
        qkv.push_back(
            Dot(model.qkv.Row(n), normed.data(), model.qkv.cols).value);
      }
      const int num_rotated = model.shape.num_heads + model.shape.num_kv_heads;
      for (int head = 0; head < num_rotated; ++head) {
        Rotate(qkv.data() + head * model.shape.head_dim, row);
      }
      doubts_.push_back(RoundCached(qkv));
      qkv_.push_back(std::move(qkv));
    }
  }

  std::vector<Result> Row(int64_t row) const {
    const AttentionShape& shape = model_.shape;
    std::vector<Result> out;
    for (int head = 0; head < shape.num_heads; ++head) {
      const int64_t key =
          (shape.num_heads + shape.kv_head_of[head]) * shape.head_dim;
      const Softmax softmax =
          SoftmaxOf(row, qkv_[row].data() + head * shape.head_dim, key);
      const int64_t value = key + shape.num_kv_heads * shape.head_dim;
      for (int64_t d = 0; d < shape.head_dim; ++d) {
        out.push_back(Gather(softmax, value + d));
      }
    }
    return out;
  }

 private:
  // Of float32 arithmetic, in results and in what is cached.
  static constexpr double kTolerance = 2e-5;
  static constexpr double kCachedTolerance = 3e-6;

  // Of the positions that a row sees.
  struct Softmax {
    std::vector<double> weights;
    std::vector<double> doubts;  // in proportion to the weights
  };

  Softmax SoftmaxOf(int64_t row, const double* query, int64_t key) const {
    const double scale =
        1 / std::sqrt(static_cast<double>(model_.shape.head_dim));
    Softmax softmax;
    double sum = 0;
    for (int64_t position = 0; position <= row; ++position) {
      double score = 0;
      double doubt = 0;
      for (int64_t d = 0; d < model_.shape.head_dim; ++d) {
        score += query[d] * qkv_[position][key + d];
        doubt += std::abs(query[d]) * doubts_[position][key + d];
      }
      softmax.weights.push_back(std::exp(score * scale));
      softmax.doubts.push_back(std::expm1(doubt * scale));
      sum += softmax.weights.back();
    }
    for (double& weight : softmax.weights) weight /= sum;
    return softmax;
  }

  Result Gather(const Softmax& softmax, int64_t value) const {
    Result result;
    for (size_t i = 0; i < softmax.weights.size(); ++i) {
      result.value += softmax.weights[i] * qkv_[i][value];
      result.tolerance += softmax.weights[i] * doubts_[i][value];
    }
    // What is wrong with a weight moves the sum towards its value or away.
    for (size_t i = 0; i < softmax.weights.size(); ++i) {
      result.tolerance += softmax.weights[i] * softmax.doubts[i] *
                          std::abs(qkv_[i][value] - result.value);
    }
    return result;
  }

  void Rotate(double* head, int64_t position) const {
    const int64_t half = model_.shape.head_dim / 2;
    for (int64_t i = 0; i < half; ++i) {
      const double cos = model_.cos.At(position, i);
      const double sin = model_.sin.At(position, i);
      const double first = head[i];
      const double second = head[i + half];
      head[i] = first * cos - second * sin;
      head[i + half] = second * cos + first * sin;
    }
  }

  // Rounds keys and values. Returns by how much each may yet be off: where it
  // is near the middle of two neighbours, either may be cached.
  std::vector<double> RoundCached(std::vector<double>& qkv) const {
    std::vector<double> doubts(qkv.size());
    if (dtype_ == DType::kFloat32) return doubts;
    const size_t first_key = model_.shape.num_heads * model_.shape.head_dim;
    for (size_t i = first_key; i < qkv.size(); ++i) {
      doubts[i] = RoundToCache(qkv[i] + kCachedTolerance, dtype_) -
                  RoundToCache(qkv[i] - kCachedTolerance, dtype_);
      qkv[i] = RoundToCache(qkv[i], dtype_);
    }
    return doubts;
  }

  const AttentionModel& model_;
  const DType dtype_;
  std::vector<std::vector<double>> qkv_;
  std::vector<std::vector<double>> doubts_;  // of keys and values
};

inline void ExpectRow(const HostMatrix& out, int64_t row,
                      const ExactAttention& exact) {
  const std::vector<ExactAttention::Result> expected = exact.Row(row);
  for (int64_t i = 0; i < out.cols; ++i) {
    ASSERT_NEAR(out.At(row, i), expected[i].value, expected[i].tolerance)
        << "row=" << row << " i=" << i;
  }
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_ATTENTION_MODEL_H_
