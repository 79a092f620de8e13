// What the coordinator of a move asks of shards: the RPCs of v1::ShardMove as data. Pure.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <variant>

#include "terrane/v1/shard.pb.h"

namespace terrane::migration {

enum class StepKind {
  kPin,
  kPrepare,
  kImport,  // starts or looks at it: asked again and again
  kVerify,  // likewise
  kFence,
  kFenceReads,
  kComplete,
  kOwn,
  kRelease,
  kEndAttemptSource,
  kEndAttemptTarget,
  kDropTarget,
  kDropSource,
};
inline constexpr int kStepKinds = 13;

std::string_view NameOf(StepKind kind);

using StepRequest = std::variant<v1::PinStep, v1::PrepareStep, v1::ImportStep, v1::VerifyStep, v1::FenceStep,
                                 v1::FenceReadsStep, v1::CompleteStep, v1::OwnStep, v1::ReleaseStep, v1::EndAttemptStep,
                                 v1::DropCopyStep, v1::CreateChunkStep, v1::SplitChunkStep>;
using StepAnswer = std::variant<v1::StepResponse, v1::ImportStatus, v1::VerifyStatus>;

struct Step {
  StepKind kind;
  std::string shard;
  StepRequest request;
  std::chrono::milliseconds timeout;
};

}  // namespace terrane::migration
