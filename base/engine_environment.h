// What an agent tells the engine that it starts, by environment variables (they
// reach MPI ranks through mpirun's and orted's environments, which the agents
// start), and the page in which the engine tells its agent how far it is.
#ifndef CARAVAN_BASE_ENGINE_ENVIRONMENT_H_
#define CARAVAN_BASE_ENGINE_ENVIRONMENT_H_

namespace caravan {

// The engines' binaries have one name on every node, where they are looked up
// in the PATH that its agent sets.
inline constexpr char kEngineName[] = "caravan-engine";
inline constexpr char kCudaEngineName[] = "caravan-engine-cuda";

// Of an agent: another program in place of the caravan-engine-cuda beside it.
inline constexpr char kCudaEngineVariable[] = "CARAVAN_CUDA_ENGINE";

// "127.0.0.1:7000": where the engine dials the coordinator.
inline constexpr char kCoordinatorVariable[] = "CARAVAN_COORDINATOR";
inline constexpr char kTokenFileVariable[] = "CARAVAN_TOKEN_FILE";
inline constexpr char kNodeVariable[] = "CARAVAN_NODE";
inline constexpr char kReplicaVariable[] = "CARAVAN_REPLICA";
inline constexpr char kEpochVariable[] = "CARAVAN_EPOCH";
// Rank of an engine that is started without MPI; MPI ranks take theirs from
// OMPI_COMM_WORLD_RANK.
inline constexpr char kRankVariable[] = "CARAVAN_RANK";
// "cpu", "cuda" or "simulated".
inline constexpr char kDeviceVariable[] = "CARAVAN_DEVICE";
// Address of this node at which other ranks can dial the engine; only where
// they do.
inline constexpr char kDataAddressVariable[] = "CARAVAN_DATA_ADDRESS";
// Folder of this epoch's progress pages, one file per process:
// "<pid>.progress".
inline constexpr char kProgressFolderVariable[] = "CARAVAN_PROGRESS_FOLDER";
// The agent's process: the engine ends when it does.
inline constexpr char kAgentPidVariable[] = "CARAVAN_AGENT_PID";
// Marks every process that an agent starts for an epoch,
// "<incarnation>/<replica>/<epoch>": what is left of it is found by this.
inline constexpr char kMarkVariable[] = "CARAVAN_MARK";

}  // namespace caravan

#endif  // CARAVAN_BASE_ENGINE_ENVIRONMENT_H_
