// Chance, from the system's generator.
#ifndef CARAVAN_COORDINATOR_API_RANDOM_ID_H_
#define CARAVAN_COORDINATOR_API_RANDOM_ID_H_

#include <cstdint>
#include <string>

namespace caravan::coordinator {

std::string RandomId();  // 32 hexadecimal digits
uint64_t RandomSeed();

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_RANDOM_ID_H_
