// A bound on memory that many requests share.
#ifndef CARAVAN_COORDINATOR_API_BYTE_BUDGET_H_
#define CARAVAN_COORDINATOR_API_BYTE_BUDGET_H_

#include <atomic>
#include <cstdint>

namespace caravan::coordinator {

// Thread-safe.
class ByteBudget final {
 public:
  explicit ByteBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // A part of the budget, given back at its end.
  class Reservation final {
   public:
    // `budget` outlives this.
    Reservation(ByteBudget* budget, int64_t bytes)
        : budget_(budget), bytes_(bytes) {
      granted_ =
          budget_->used_.fetch_add(bytes_) + bytes_ <= budget_->max_bytes_;
    }
    ~Reservation() { budget_->used_ -= bytes_; }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

    // False: the budget has no room for it now.
    bool granted() const { return granted_; }

   private:
    ByteBudget* const budget_;
    const int64_t bytes_;
    bool granted_ = false;
  };

 private:
  const int64_t max_bytes_;
  std::atomic<int64_t> used_{0};
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_BYTE_BUDGET_H_
