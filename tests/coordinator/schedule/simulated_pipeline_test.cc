#include "coordinator/schedule/simulated_pipeline.h"

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

absl::Time At(int milliseconds) {
  return absl::UnixEpoch() + absl::Milliseconds(milliseconds);
}
constexpr absl::Duration kWork = absl::Milliseconds(10);

TEST(SimulatedPipelineTest, StagesOverlap) {
  SimulatedPipeline pipeline(3);
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 0), At(30));
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 0), At(40));
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 0), At(50));
  // Every third step of a sequence finds its id just in time.
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 1), At(60));
}

TEST(SimulatedPipelineTest, AStepWaitsForItsInput) {
  SimulatedPipeline pipeline(2);
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 0), At(20));
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 1), At(40));
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 2), At(60));
}

TEST(SimulatedPipelineTest, AnIdlePipelineBeginsOnArrival) {
  SimulatedPipeline pipeline(1);
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 0), At(10));
  EXPECT_EQ(pipeline.Finish(At(100), kWork, 1), At(110));
  EXPECT_EQ(pipeline.Finish(At(100), absl::ZeroDuration(), 0), At(110));
}

TEST(SimulatedPipelineTest, TheSlowestStepHoldsUpThoseAfterIt) {
  SimulatedPipeline pipeline(2);
  EXPECT_EQ(pipeline.Finish(At(0), 3 * kWork, 0), At(60));
  EXPECT_EQ(pipeline.Finish(At(0), kWork, 0), At(70));
}

}  // namespace
}  // namespace caravan::coordinator
