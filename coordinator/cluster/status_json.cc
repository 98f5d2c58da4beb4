#include "coordinator/cluster/status_json.h"

#include "base/version.h"
#include "nlohmann/json.hpp"

namespace caravan::coordinator {
namespace {

using Json = nlohmann::ordered_json;

Json RangeJson(const v1::Range& range) {
  return Json::array({range.begin(), range.end()});
}

std::string ToString(absl::string_view text) { return std::string(text); }

Json DeviceJson(const v1::Device& device) {
  Json json = {{"kind", device.kind()},
               {"name", device.name()},
               {"cores", device.num_cores()},
               {"memory_bytes", device.memory_bytes()}};
  if (device.kind() == "cuda") {
    json["uuid"] = device.uuid();
    json["pci_address"] = device.pci_address();
    json["compute_capability"] = device.compute_capability();
    json["driver"] = device.driver();
    json["peers"] = device.peers();
  }
  return json;
}

Json NodeJson(const Node& node) {
  Json devices = Json::array();
  for (const v1::Device& device : node.devices) {
    devices.push_back(DeviceJson(device));
  }
  return {{"name", node.name},
          {"data_address", node.data_address},
          {"memory_bytes", node.memory_bytes},
          {"devices", std::move(devices)},
          {"no_gpu_reason", node.no_gpu_reason}};
}

Json RankJson(const v1::RankPlan& plan, const RankState& state) {
  return {
      {"rank", plan.rank()},
      {"stage", plan.stage()},
      {"tp_rank", plan.tp_rank()},
      {"node", plan.node()},
      {"device_uuid", plan.device_uuid()},
      {"pid", state.pid},
      {"layers", RangeJson(plan.layers())},
      {"heads", RangeJson(plan.heads())},
      {"kv_heads", RangeJson(plan.kv_heads())},
      {"weight_bytes", plan.weight_bytes()},
      {"kv_cache_bytes", plan.kv_cache_bytes()},
      {"kv_cache_dtype", plan.kv_cache_dtype()},
      {"planned_bytes", plan.weight_bytes() + plan.kv_cache_bytes() +
                            plan.activation_bytes() +
                            plan.communication_bytes() + plan.reserve_bytes()},
      {"resident_bytes", state.resident_bytes},
      {"loaded_bytes", state.loaded_bytes},
      {"total_bytes", state.total_bytes},
      {"ready", state.ready},
      {"threads", state.num_threads},
      {"instruction_set", state.instruction_set},
      {"step", state.step},
      {"phase", state.phase}};
}

Json ReplicaJson(const ClusterView& view) {
  Json ranks = Json::array();
  for (const v1::RankPlan& rank : view.plan.ranks()) {
    if (rank.rank() >= static_cast<int>(view.ranks.size())) continue;
    ranks.push_back(RankJson(rank, view.ranks[rank.rank()]));
  }
  return {{"replica", view.replica},
          {"state", ToString(Name(view.state))},
          {"epoch", view.epoch},
          {"tp", view.plan.tp()},
          {"pp", view.plan.pp()},
          {"weight_dtype", view.plan.weight_dtype()},
          {"quantization", view.plan.quantization()},
          {"activation_dtype", view.plan.activation_dtype()},
          {"max_model_len", view.plan.max_model_len()},
          {"last_failure", view.last_cause},
          {"ranks", std::move(ranks)}};
}

}  // namespace

std::string StatusJson(const std::string& model, const ClusterView& view,
                       const SchedulerStats& stats) {
  Json nodes = Json::array();
  for (const Node& node : view.nodes) nodes.push_back(NodeJson(node));
  const Json json = {{"version", ToString(Version())},
                     {"build", ToString(BuildId())},
                     {"model", model},
                     {"ready", stats.ready},
                     {"nodes", std::move(nodes)},
                     {"replicas", Json::array({ReplicaJson(view)})},
                     {"requests",
                      {{"running", stats.num_running},
                       {"waiting", stats.num_waiting},
                       {"blocks_used", stats.blocks_used},
                       {"blocks_total", stats.blocks_total},
                       {"steps_in_flight", stats.steps_in_flight},
                       {"steps_completed", stats.steps_completed},
                       {"prompt_tokens", stats.prompt_tokens},
                       {"generated_tokens", stats.generated_tokens},
                       {"preemptions", stats.preemptions}}}};
  // Text from peers may hold anything: what is not UTF-8 is replaced.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace caravan::coordinator
