// CHECK is for "the code is wrong", never for a peer, a file, a device or
// input.
#ifndef CARAVAN_BASE_CHECK_H_
#define CARAVAN_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

#define CARAVAN_CHECK(condition)                                            \
  do {                                                                      \
    if (!(condition)) [[unlikely]] {                                        \
      std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, \
                   #condition);                                             \
      std::abort();                                                         \
    }                                                                       \
  } while (false)

#endif  // CARAVAN_BASE_CHECK_H_
