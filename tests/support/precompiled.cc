#include "tests/support/precompiled.h"

// The source that targets of precompiled headers need (cmake/CaravanTests.cmake).
