// Where the real model of the tests lies.
#ifndef CARAVAN_TESTS_SUPPORT_REAL_MODEL_H_
#define CARAVAN_TESTS_SUPPORT_REAL_MODEL_H_

#include <string>

namespace caravan::testing {

// For GTEST_SKIP when there is none.
inline constexpr char kNoRealModel[] =
    "no SmolLM2-135M-Instruct.Q4_1.gguf; CARAVAN_TEST_GGUF names one, "
    "deploy/quickstart.sh fetches it";

// SmolLM2-135M-Instruct.Q4_1.gguf: the file that CARAVAN_TEST_GGUF names, or
// the one in the user's cache, where deploy/quickstart.sh puts it. Empty: there
// is none.
std::string RealModelFile();

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_REAL_MODEL_H_
