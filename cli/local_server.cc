#include "cli/local_server.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/byte_size.h"
#include "coordinator/api/api_server.h"
#include "coordinator/cluster/local_agent.h"
#include "coordinator/cluster/private_folder.h"
#include "coordinator/cluster/replica_planner.h"
#include "coordinator/cluster/status_json.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"
#include "partition/model/model_source.h"
#include "partition/plan/kv_cache_dtype.h"

namespace caravan::cli {
namespace {

// Ending an epoch is killing processes and looking that they are gone.
constexpr absl::Duration kClusterShutdown = absl::Seconds(3);
constexpr absl::Duration kAgentShutdown = absl::Seconds(1);

// The scheduler as the cluster sees it.
class SchedulerListener final : public coordinator::EpochListener {
 public:
  explicit SchedulerListener(coordinator::Scheduler* scheduler)
      : scheduler_(scheduler) {}

  void OnEpochStarted(coordinator::EngineGroup* group) override {
    max_model_len_ = group->info().max_model_len;
    scheduler_->OnEpochStarted(group);
  }
  absl::Status OnStepResult(const v1::StepResult& result) override {
    return scheduler_->OnStepResult(result);
  }
  void OnEpochEnded(const absl::Status& cause) override {
    scheduler_->OnEpochEnded(cause);
  }

  int64_t max_model_len() const { return max_model_len_; }

 private:
  coordinator::Scheduler* const scheduler_;
  std::atomic<int64_t> max_model_len_ = 0;
};

absl::StatusOr<std::string> ThisExecutable() {
  std::error_code error;
  const std::filesystem::path path =
      std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("cannot find this executable: ", error.message()));
  }
  return path.string();
}

// The path as engines, which run elsewhere, need it; a name stays a name.
std::string AbsoluteModelPath(const std::string& model) {
  std::error_code error;
  if (!std::filesystem::exists(model, error)) return model;
  const std::filesystem::path path = std::filesystem::absolute(model, error);
  return error ? model : path.lexically_normal().string();
}

// A model is known by its last name and by what it was called by.
std::vector<std::string> NamesOf(const ServeOptions& options) {
  if (!options.served_model_names.empty()) return options.served_model_names;
  std::filesystem::path path(options.model);
  if (!path.has_filename()) path = path.parent_path();
  std::vector<std::string> names = {path.filename().string()};
  if (names[0] != options.model) names.push_back(options.model);
  return names;
}

absl::StatusOr<DType> WeightDType(const std::string& name, DType checkpoint) {
  if (name == "auto") return checkpoint;
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (name == std::string(Name(dtype))) return dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--dtype must be auto, float32, float16 or bfloat16, is ", name));
}

}  // namespace

class LocalServer::Impl {
 public:
  explicit Impl(ServeOptions options) : options_(std::move(options)) {}
  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Start() {
    CARAVAN_RETURN_IF_ERROR(Validate(options_));
    CARAVAN_RETURN_IF_ERROR(OpenModel());
    CARAVAN_RETURN_IF_ERROR(LoadText());
    CARAVAN_RETURN_IF_ERROR(FindToken());
    policy_ = coordinator::MakeFirstComePolicy();
    scheduler_ =
        std::make_unique<coordinator::Scheduler>(coordinator::SchedulerOptions{
            .max_batched_tokens = options_.max_batched_tokens,
            .max_sequences = options_.max_sequences,
            .policy = policy_.get()});
    listener_ = std::make_unique<SchedulerListener>(scheduler_.get());
    CARAVAN_RETURN_IF_ERROR(StartCluster());
    // Before the engines: a port that is taken is told at once.
    CARAVAN_RETURN_IF_ERROR(StartApi());
    if (options_.nodes == 0) CARAVAN_RETURN_IF_ERROR(StartAgent());
    return absl::OkStatus();
  }

  std::string url() const {
    const bool is_ipv6 = options_.host.find(':') != std::string::npos;
    return absl::StrCat("http://", is_ipv6 ? "[" : "", options_.host,
                        is_ipv6 ? "]:" : ":", api_->port());
  }
  std::string model_name() const { return names_[0]; }
  const partition::ModelSpec& spec() const { return planner_.spec; }
  std::string agent_address() const {
    return absl::StrCat(options_.listen.substr(0, options_.listen.rfind(':')),
                        ":", cluster_->port());
  }
  std::string token_file() const { return token_file_; }

  absl::Status WaitUntilReady(absl::Time deadline) {
    while (true) {
      const absl::Time now = absl::Now();
      const absl::Status status = cluster_->WaitUntilReady(
          std::min(deadline, now + absl::Milliseconds(200)));
      if (!absl::IsDeadlineExceeded(status)) return status;
      if (agent_ != nullptr) CARAVAN_RETURN_IF_ERROR(agent_->status());
      if (now >= deadline) return status;
    }
  }

  coordinator::ClusterView View() { return cluster_->View(); }

  void Shutdown(absl::Duration drain) {
    if (api_ != nullptr) api_->Shutdown(drain);
    if (agent_ != nullptr) agent_->ExpectExit();
    if (cluster_ != nullptr) cluster_->Shutdown(kClusterShutdown);
    if (agent_ != nullptr) agent_->Stop(kAgentShutdown);
  }

 private:
  absl::Status OpenModel();
  absl::Status LoadText();
  absl::Status FindToken();
  absl::Status StartCluster();
  absl::Status StartApi();
  absl::Status StartAgent();

  const ServeOptions options_;
  std::vector<std::string> names_;
  coordinator::PlannerOptions planner_;
  std::unique_ptr<coordinator::Tokenizer> tokenizer_;
  std::unique_ptr<coordinator::ChatTemplate> chat_template_;
  std::unique_ptr<coordinator::PrivateFolder> folder_;
  std::string token_file_;
  std::string token_;
  // Each uses those before it.
  std::unique_ptr<coordinator::SchedulingPolicy> policy_;
  std::unique_ptr<coordinator::Scheduler> scheduler_;
  std::unique_ptr<SchedulerListener> listener_;
  std::unique_ptr<coordinator::Cluster> cluster_;
  std::unique_ptr<coordinator::LocalAgent> agent_;
  std::unique_ptr<coordinator::ApiServer> api_;
};

absl::Status LocalServer::Impl::OpenModel() {
  const bool is_dummy = options_.load_format == "dummy";
  const std::string path = AbsoluteModelPath(options_.model);
  CARAVAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<partition::ModelSource> source,
      partition::OpenModel({.path = path,
                            .load_format = is_dummy
                                               ? partition::LoadFormat::kDummy
                                               : partition::LoadFormat::kAuto,
                            .seed = options_.seed,
                            .hf_overrides = options_.hf_overrides}));
  names_ = NamesOf(options_);
  planner_.spec = source->spec();
  planner_.plan = {.tp = options_.tp,
                   .pp = options_.pp,
                   .max_model_len = options_.max_model_len,
                   .max_sequences = options_.max_sequences,
                   .max_rows_per_step = options_.max_batched_tokens,
                   .memory_utilization = options_.memory_utilization,
                   .enforce_eager = options_.enforce_eager,
                   .deterministic = options_.deterministic};
  CARAVAN_ASSIGN_OR_RETURN(planner_.plan.weight_dtype,
                           WeightDType(options_.dtype, planner_.spec.dtype));
  CARAVAN_ASSIGN_OR_RETURN(planner_.plan.quantization,
                           partition::ParseQuantization(options_.quantization));
  CARAVAN_RETURN_IF_ERROR(
      partition::CheckQuantization(planner_.spec, planner_.plan.quantization));
  CARAVAN_ASSIGN_OR_RETURN(planner_.plan.activation_dtype,
                           ParseDType(options_.activation_dtype));
  CARAVAN_ASSIGN_OR_RETURN(
      planner_.plan.kv_cache_dtype,
      partition::ParseKvCacheDType(options_.kv_cache_dtype));
  planner_.device = options_.device;
  planner_.threads_per_rank = options_.cpu_threads;
  CARAVAN_ASSIGN_OR_RETURN(planner_.kv_cache_bytes_per_node,
                           ParseByteSize(options_.kv_cache_memory));
  planner_.model.set_path(path);
  planner_.model.set_load_format(options_.load_format);
  planner_.model.set_seed(options_.seed);
  planner_.model.set_hf_overrides(options_.hf_overrides);
  planner_.model.set_fingerprint(source->Fingerprint());
  v1::SimulatedTiming* timing = planner_.model.mutable_simulated();
  timing->set_microseconds_per_step(options_.simulated_step_us);
  timing->set_microseconds_per_row(options_.simulated_row_us);
  timing->set_vocabulary_size(static_cast<int32_t>(planner_.spec.vocab_size));
  return absl::OkStatus();
}

absl::Status LocalServer::Impl::LoadText() {
  if (options_.skip_tokenizer_init) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<coordinator::Tokenizer>> tokenizer =
      coordinator::LoadTokenizer(options_.model);
  if (absl::IsNotFound(tokenizer.status())) {
    return absl::NotFoundError(
        absl::StrCat(tokenizer.status().message(),
                     "; --skip-tokenizer-init serves token ids without one"));
  }
  if (!tokenizer.ok()) return tokenizer.status();
  tokenizer_ = *std::move(tokenizer);
  absl::StatusOr<std::unique_ptr<coordinator::ChatTemplate>> chat_template =
      options_.chat_template.empty()
          ? coordinator::DetectChatTemplate(options_.model)
          : coordinator::MakeChatTemplate(options_.chat_template);
  if (chat_template.ok()) {
    chat_template_ = *std::move(chat_template);
    return absl::OkStatus();
  }
  if (!options_.chat_template.empty()) return chat_template.status();
  LogInfo(absl::StrCat("no chat, completions only: ",
                       chat_template.status().message()));
  return absl::OkStatus();
}

absl::Status LocalServer::Impl::FindToken() {
  CARAVAN_ASSIGN_OR_RETURN(folder_, coordinator::PrivateFolder::Create());
  token_file_ = options_.token_file;
  if (token_file_.empty()) {
    token_file_ = folder_->path() + "/token";
    CARAVAN_ASSIGN_OR_RETURN(const std::string drawn, coordinator::DrawToken());
    CARAVAN_RETURN_IF_ERROR(
        coordinator::WriteSecretFile(token_file_, drawn + "\n"));
  }
  CARAVAN_ASSIGN_OR_RETURN(token_, coordinator::ReadTokenFile(token_file_));
  return absl::OkStatus();
}

absl::Status LocalServer::Impl::StartCluster() {
  coordinator::ClusterOptions cluster;
  if (!options_.listen.empty()) cluster.listen_address = options_.listen;
  cluster.credentials = {.token = token_, .build_id = std::string(BuildId())};
  cluster.listener = listener_.get();
  cluster.clock = &RealClock();
  cluster.stall_timeout = absl::Seconds(options_.stall_timeout_seconds);
  cluster.first_seconds_per_row = coordinator::SlowSecondsPerRow(planner_.spec);
  cluster.supervisor.draw_secret = &coordinator::DrawToken;
  cluster.supervisor.num_nodes = std::max(1, options_.nodes);
  // With nodes of their own, somebody may repair one; alone, the user waits.
  cluster.supervisor.max_start_failures = options_.nodes == 0 ? 3 : 0;
  cluster.supervisor.plan =
      [planner = planner_](const std::vector<coordinator::Node>& nodes) {
        return coordinator::PlanReplica(planner, nodes);
      };
  CARAVAN_ASSIGN_OR_RETURN(cluster_,
                           coordinator::Cluster::Start(std::move(cluster)));
  return absl::OkStatus();
}

absl::Status LocalServer::Impl::StartApi() {
  coordinator::ApiServerOptions api;
  api.address = options_.host;
  api.port = options_.port;
  api.api_keys = options_.api_keys;
  api.allow_insecure = options_.insecure;
  api.scheduler = scheduler_.get();
  api.status = [this] {
    return coordinator::StatusJson(names_[0], cluster_->View(),
                                   scheduler_->Stats());
  };
  coordinator::ServedModel& model = api.model;
  model.names = names_;
  model.path = planner_.model.path();
  model.tokenizer = tokenizer_.get();
  model.chat_template = chat_template_.get();
  model.vocab_size = planner_.spec.vocab_size;
  model.eos_tokens.assign(planner_.spec.eos_tokens.begin(),
                          planner_.spec.eos_tokens.end());
  if (tokenizer_ != nullptr) {
    const int eos = tokenizer_->eos_token();
    if (eos >= 0 && std::find(model.eos_tokens.begin(), model.eos_tokens.end(),
                              eos) == model.eos_tokens.end()) {
      model.eos_tokens.push_back(eos);
    }
    model.longest_token_bytes = coordinator::LongestTokenBytes(*tokenizer_);
  }
  model.max_model_len = [this] { return listener_->max_model_len(); };
  CARAVAN_ASSIGN_OR_RETURN(api_, coordinator::ApiServer::Start(std::move(api)));
  return absl::OkStatus();
}

absl::Status LocalServer::Impl::StartAgent() {
  coordinator::LocalAgentOptions agent;
  agent.program = options_.caravan_program;
  if (agent.program.empty()) {
    CARAVAN_ASSIGN_OR_RETURN(agent.program, ThisExecutable());
  }
  agent.arguments = {
      "agent", "--join", absl::StrCat("127.0.0.1:", cluster_->port()),
      "--token-file", token_file_, "--node-name", "localhost", "--runtime-dir",
      folder_->path() + "/agent", "--device",
      // A list is by stages, not by nodes.
      absl::StrContains(options_.device, ',') ? "auto" : options_.device};
  if (options_.quiet) {
    agent.output_file = folder_->path() + "/agent.log";
  } else {
    agent.arguments.push_back(options_.verbose ? "--verbose" : "--quiet");
  }
  CARAVAN_ASSIGN_OR_RETURN(agent_,
                           coordinator::LocalAgent::Start(std::move(agent)));
  return absl::OkStatus();
}

LocalServer::LocalServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalServer::~LocalServer() = default;

std::string LocalServer::url() const { return impl_->url(); }
std::string LocalServer::model_name() const { return impl_->model_name(); }
const partition::ModelSpec& LocalServer::spec() const { return impl_->spec(); }
std::string LocalServer::agent_address() const {
  return impl_->agent_address();
}
std::string LocalServer::token_file() const { return impl_->token_file(); }

absl::Status LocalServer::WaitUntilReady(absl::Time deadline) {
  return impl_->WaitUntilReady(deadline);
}

coordinator::ClusterView LocalServer::View() { return impl_->View(); }
void LocalServer::Shutdown(absl::Duration drain) { impl_->Shutdown(drain); }

absl::StatusOr<std::unique_ptr<LocalServer>> StartLocalServer(
    ServeOptions options) {
  auto impl = std::make_unique<LocalServer::Impl>(std::move(options));
  CARAVAN_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<LocalServer>(new LocalServer(std::move(impl)));
}

}  // namespace caravan::cli
