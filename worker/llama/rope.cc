#include "worker/llama/rope.h"

#include <cmath>
#include <numbers>

namespace caravan::worker {
namespace {

std::vector<float> InverseFrequencies(double theta, int64_t head_dim) {
  std::vector<float> frequencies(head_dim / 2);
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent =
        static_cast<float>(2 * i) / static_cast<float>(head_dim);
    frequencies[i] = 1.0f / std::pow(static_cast<float>(theta), exponent);
  }
  return frequencies;
}

// Llama 3.1: long wavelengths are stretched by `factor`, short ones are left,
// those between are interpolated.
float Llama3Frequency(float frequency, const RopeParameters& parameters) {
  const double context = static_cast<double>(parameters.original_max_positions);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength > context / parameters.low_frequency_factor) {
    return static_cast<float>(frequency / parameters.factor);
  }
  if (wavelength < context / parameters.high_frequency_factor) {
    return frequency;
  }
  const double smooth =
      (context / wavelength - parameters.low_frequency_factor) /
      (parameters.high_frequency_factor - parameters.low_frequency_factor);
  return static_cast<float>((1 - smooth) * frequency / parameters.factor +
                            smooth * frequency);
}

// The base for a text of `length` positions (bloc97's dynamic NTK scaling).
double DynamicTheta(const RopeParameters& parameters, int64_t length) {
  if (length <= parameters.original_max_positions) return parameters.theta;
  const double stretch =
      parameters.factor * static_cast<double>(length) /
          static_cast<double>(parameters.original_max_positions) -
      (parameters.factor - 1);
  const double dim = static_cast<double>(parameters.head_dim);
  return parameters.theta * std::pow(stretch, dim / (dim - 2));
}

std::vector<float> FixedFrequencies(const RopeParameters& parameters) {
  std::vector<float> frequencies =
      InverseFrequencies(parameters.theta, parameters.head_dim);
  for (float& frequency : frequencies) {
    switch (parameters.scaling) {
      case RopeParameters::Scaling::kNone:
      case RopeParameters::Scaling::kDynamic:
        break;
      case RopeParameters::Scaling::kLinear:
        frequency = static_cast<float>(frequency / parameters.factor);
        break;
      case RopeParameters::Scaling::kLlama3:
        frequency = Llama3Frequency(frequency, parameters);
        break;
    }
  }
  return frequencies;
}

}  // namespace

RopeAngles ComputeRopeAngles(const RopeParameters& parameters,
                             int64_t num_positions) {
  const int64_t half = parameters.head_dim / 2;
  RopeAngles angles;
  angles.cos.resize(num_positions * half);
  angles.sin.resize(num_positions * half);
  std::vector<float> frequencies = FixedFrequencies(parameters);
  for (int64_t position = 0; position < num_positions; ++position) {
    if (parameters.scaling == RopeParameters::Scaling::kDynamic &&
        position >= parameters.original_max_positions) {
      frequencies = InverseFrequencies(DynamicTheta(parameters, position + 1),
                                       parameters.head_dim);
    }
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(position) * frequencies[i];
      angles.cos[position * half + i] = std::cos(angle);
      angles.sin[position * half + i] = std::sin(angle);
    }
  }
  return angles;
}

}  // namespace caravan::worker
