// Reads the progress pages of one epoch's engines on this node.
#ifndef CARAVAN_WORKER_AGENT_PROGRESS_FOLDER_H_
#define CARAVAN_WORKER_AGENT_PROGRESS_FOLDER_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/progress_page.h"
#include "worker/agent/epoch_key.h"

namespace caravan::worker {

// The pages that belong to `key` and are whole; anything else in the folder is
// not an engine's word and is left out.
std::vector<EngineProgressSnapshot> ReadProgressFolder(
    const std::string& folder, const EpochKey& key);

// Memory of a process that is in RAM; 0 when it is gone.
int64_t ResidentBytes(pid_t pid);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_PROGRESS_FOLDER_H_
