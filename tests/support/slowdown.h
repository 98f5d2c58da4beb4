// How much longer tests wait for what must not happen, where a sanitizer makes
// all else slow.
#ifndef CARAVAN_TESTS_SUPPORT_SLOWDOWN_H_
#define CARAVAN_TESTS_SUPPORT_SLOWDOWN_H_

namespace caravan::testing {

#ifdef __SANITIZE_THREAD__
// A step of an emulated GPU takes seconds in place of tenths.
inline constexpr int kSlowdown = 20;
#else
inline constexpr int kSlowdown = 1;
#endif

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_SLOWDOWN_H_
