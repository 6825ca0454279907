// Asks one subnet of a palette from C++, by onnxruntime alone: nothing of EdgeDistill is needed.
//
// Usage: ask GRAPH ID...
//        ask GRAPH < IDS
//
// GRAPH is an .onnx file of the palette, where it lies: its weights file is beside it. The ids are one text's, special
// tokens among them, as a tokenizer that reads the palette's tokenizer.json gives them. The outputs come one a line, in
// the order of the manifest's labels.
//
// To build it, unpack a release of onnxruntime for your machine as ort/ beside this file:
//
//   g++ -std=c++17 -O2 ask.cpp -o ask -I ort/include -L ort/lib -lonnxruntime -Wl,-rpath,"$PWD/ort/lib"
//
// Where Python's onnxruntime is installed, its library will do: link onnxruntime/capi/libonnxruntime.so.* as
// ort/lib/libonnxruntime.so for the build, and as ort/lib/libonnxruntime.so.1 for the program. Headers may be older
// than the library, not newer.

#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

using Row = std::vector<std::int64_t>;

std::int64_t token_id(const std::string& word) {
  std::int64_t id = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, id);
  // The graph would count a negative one from the vocabulary's end.
  if (error != std::errc{} || rest != end || id < 0) throw std::invalid_argument("not a token id: " + word);
  return id;
}

Row token_ids(const std::vector<std::string>& words) {
  if (words.empty()) throw std::invalid_argument("no token ids");
  Row ids;
  for (const std::string& word : words) ids.push_back(token_id(word));
  return ids;
}

/// What the input of this name is for one text alone.
Row feed(const std::string& input, const Row& ids) {
  if (input == "input_ids") return ids;
  if (input == "attention_mask") return Row(ids.size(), 1);  // a single row has no padding
  if (input == "token_type_ids") return Row(ids.size(), 0);  // nor a second text
  throw std::runtime_error("not a palette's graph: it has an input " + input);
}

Ort::Session load(const Ort::Env& env, const char* graph) {
  Ort::SessionOptions options;
  // An idle pool that spins takes the cores from whoever runs next.
  options.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
  // The graph names its weights file, which lies beside it: give the path, not the bytes.
  return Ort::Session(env, graph, options);
}

std::vector<std::string> input_names(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
    names.emplace_back(session.GetInputNameAllocated(i, allocator).get());
  }
  return names;
}

std::vector<float> ask(Ort::Session& session, const Row& ids) {
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const std::array<std::int64_t, 2> shape{1, static_cast<std::int64_t>(ids.size())};
  const std::vector<std::string> inputs = input_names(session);
  std::vector<Row> rows;  // which the tensors only point to
  std::vector<Ort::Value> tensors;
  std::vector<const char*> names;
  for (const std::string& input : inputs) {
    Row& row = rows.emplace_back(feed(input, ids));
    tensors.push_back(Ort::Value::CreateTensor(memory, row.data(), row.size(), shape.data(), shape.size()));
    names.push_back(input.c_str());
  }
  Ort::AllocatorWithDefaultOptions allocator;
  const Ort::AllocatedStringPtr output = session.GetOutputNameAllocated(0, allocator);
  const std::array<const char*, 1> wanted{output.get()};
  const auto outputs = session.Run(Ort::RunOptions{}, names.data(), tensors.data(), tensors.size(), wanted.data(), 1);
  const float* const first = outputs.front().GetTensorData<float>();
  return {first, first + outputs.front().GetTensorTypeAndShapeInfo().GetElementCount()};
}

std::vector<std::string> read_words(std::istream& from) {
  return {std::istream_iterator<std::string>(from), std::istream_iterator<std::string>()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: ask GRAPH [ID...]\n";
    return 2;
  }
  try {
    const Row ids = token_ids(argc > 2 ? std::vector<std::string>(argv + 2, argv + argc) : read_words(std::cin));
    // What goes wrong is thrown, and told below: no need for the log to tell it too.
    const Ort::Env env(ORT_LOGGING_LEVEL_FATAL);
    Ort::Session session = load(env, argv[1]);
    std::cout << std::setprecision(std::numeric_limits<float>::max_digits10);
    for (const float value : ask(session, ids)) std::cout << value << '\n';
  } catch (const std::exception& error) {
    const std::string what = error.what();
    std::cerr << "ask: " << what.substr(0, what.find('\n')) << '\n';
    return 1;
  }
}
