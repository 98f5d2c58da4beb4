// Tells checkpoint folders from files.
#ifndef CARAVAN_COORDINATOR_TEXT_FOLDER_H_
#define CARAVAN_COORDINATOR_TEXT_FOLDER_H_

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// Whether `path` is there and a folder.
bool IsFolder(absl::string_view path);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_FOLDER_H_
