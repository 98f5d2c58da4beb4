// What most tests include, compiled once for all of them (cmake/CaravanTests.cmake): half of the time that a test took
// to build went into these headers. Tests still include what they use.

#ifndef CARAVAN_TESTS_SUPPORT_PRECOMPILED_H_
#define CARAVAN_TESTS_SUPPORT_PRECOMPILED_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#endif  // CARAVAN_TESTS_SUPPORT_PRECOMPILED_H_
