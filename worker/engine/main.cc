// caravan-engine: one rank on CPU. Started by an agent, never by hand.

#include "worker/engine/cpu_platform.h"
#include "worker/engine/engine_main.h"

int main(int argc, char** argv) {
  caravan::worker::EngineMain(argc, argv,
                              *caravan::worker::CreateCpuPlatform());
}
