// The strings and reference ids of tests/goldens/text.
#ifndef CARAVAN_TESTS_COORDINATOR_TEXT_TEXT_GOLDENS_H_
#define CARAVAN_TESTS_COORDINATOR_TEXT_TEXT_GOLDENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/text/tokenizer.h"

namespace caravan::coordinator {

// Relative to the repository, where tests run.
std::string GoldenPath(const std::string& name);

std::string ReadFileOrDie(const std::string& path);
std::vector<std::string> GoldenStrings();
std::vector<std::vector<int32_t>> GoldenIds(const std::string& name);

// Every golden string gives its ids.
void ExpectGoldenIds(const Tokenizer& tokenizer, const std::string& ids_name);

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_COORDINATOR_TEXT_TEXT_GOLDENS_H_
