#pragma once
// ControlServer: the Unix socket behind `status`, `sync`, `image`, `mark`, `add`, `remove`,
// `reload`, `pause` and `resume`. One request and one answer a connection, each a line of JSON.
// Mode 0600, and only this process's own user and root are answered.

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/daemon/agent.h"
#include "agent/daemon/task_pool.h"

namespace sqlite_s3 {

class ControlServer {
 public:
  // Takes the place of a socket that nobody listens on. kFailedPrecondition when somebody does, or
  // when something else lies there.
  static Result<std::unique_ptr<ControlServer>> Listen(const std::string& path, Agent& agent);
  ~ControlServer();

  int fd() const { return fd_.get(); }
  // Takes who knocks, without waiting; the loop calls it when fd() can be read.
  void Accept();

 private:
  ControlServer(std::string path, Fd fd, Agent& agent);
  void Serve(Fd connection);

  const std::string path_;
  Fd fd_;
  Agent& agent_;
  TaskPool pool_;
};

// For the subcommands: one request to the agent at `path`. Errors: kNotFound (nobody listens), what
// the agent answered.
Result<nlohmann::ordered_json> AskAgent(const std::string& path, const nlohmann::json& request);

}  // namespace sqlite_s3
