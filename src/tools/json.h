// What --json prints: names of fields are those of the proto files, numbers are numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace terrane::tools {

// One line. All fields are there, unset messages are left out, 64-bit integers are plain numbers, enums are names,
// bytes are hex, except for `shard_key` of a collection, which is extended JSON.
std::string ToJson(const google::protobuf::Message& message);

std::string JsonString(std::string_view text);

// {"a": 1, ...}: values are numbers, booleans and text, or JSON that is ready (AddRaw).
class JsonObject {
 public:
  JsonObject& Add(std::string_view name, std::string_view value) { return AddRaw(name, JsonString(value)); }
  JsonObject& Add(std::string_view name, const char* value) { return Add(name, std::string_view(value)); }
  JsonObject& Add(std::string_view name, bool value) { return AddRaw(name, value ? "true" : "false"); }
  JsonObject& Add(std::string_view name, int64_t value) { return AddRaw(name, std::to_string(value)); }
  JsonObject& Add(std::string_view name, int value) { return Add(name, static_cast<int64_t>(value)); }
  JsonObject& Add(std::string_view name, double value);
  JsonObject& AddRaw(std::string_view name, std::string_view json);
  std::string Finish() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

// [a, b] of ready JSON.
std::string JsonArray(const std::vector<std::string>& items);

}  // namespace terrane::tools
