// Compares Jinja templates without running them.
#ifndef CARAVAN_COORDINATOR_TEXT_JINJA_TEXT_H_
#define CARAVAN_COORDINATOR_TEXT_JINJA_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// A form in which templates that differ in layout only are equal: white space
// inside tags goes, strings lose their escapes and are quoted by '"', and text
// between tags is as Hugging Face's trim_blocks and lstrip_blocks leave it.
// Equal forms make the same text of the same messages; it is not Jinja.
std::string CanonicalJinja(absl::string_view text);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_JINJA_TEXT_H_
