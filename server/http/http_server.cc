#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "common/base/ascii.h"
#include "server/http/connection_watch.h"
#include "server/http/listen_socket.h"
#include "server/http/outgoing.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kConnectionMemory = 128 * 1024;  // head and upload buffer; mapped as it is touched
constexpr size_t kBlockSize = 1024 * 1024;        // of a streamed answer, at most; as bodies lie
constexpr size_t kMaxHeadBytes = 32 * 1024;       // URL and headers
// Cut off, and their threads have not run yet. Beyond so many newcomers are refused: with 64 a
// burst of a hundred on a busy machine kept out the client that came after it.
constexpr size_t kClosingConnections = 256;
constexpr uint64_t kMaxDrainBytes = uint64_t{64} << 20;

int SocketOf(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info ? info->connect_fd : -1;
}

std::string AddressOf(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  if (!info || !info->client_addr) {
    return {};
  }
  char text[INET6_ADDRSTRLEN] = "";
  const sockaddr* address = info->client_addr;
  const void* bytes =
      address->sa_family == AF_INET6
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr)
          : static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr);
  return ::inet_ntop(address->sa_family, bytes, text, sizeof(text)) ? text : "";
}

// libmicrohttpd is C: nothing may be thrown through it, here and below.
ssize_t ReadAnswer(void* cls, uint64_t position, char* buffer, size_t max) noexcept {
  Outgoing& out = *static_cast<Outgoing*>(cls);
  try {
    out.watched->Working();
    const std::optional<size_t> n = NextBytes(out, position, buffer, max);
    out.watched->WaitingAfterSending(n.value_or(0));
    return n ? static_cast<ssize_t>(*n) : MHD_CONTENT_READER_END_WITH_ERROR;
  } catch (...) {  // out of memory: this answer ends here
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
}

void FreeOutgoing(void* cls) { delete static_cast<Outgoing*>(cls); }

// One request, from its first line to its completion.
struct Conversation {
  std::string target;
  WatchedConnection* watched = nullptr;
  std::unique_ptr<Exchange> exchange;
  std::optional<Response> refusal;  // known; the body is only read to be able to answer
  // Bytes that are queued with the answer, if there is one; those of a stream are not.
  std::optional<uint64_t> answered;
  bool begun = false;
  bool is_head = false;
};

struct Collector {
  Headers headers;
  size_t bytes = 0;
};

MHD_Result CollectHeader(void* cls, MHD_ValueKind, const char* name, const char* value) {
  auto& collector = *static_cast<Collector*>(cls);
  const char* text = value ? value : "";
  collector.bytes += std::strlen(name) + std::strlen(text);
  collector.headers.Add(name, text);
  return MHD_YES;
}

class MicrohttpdServer : public HttpServer {
 public:
  MicrohttpdServer(Handler& handler, const HttpOptions& options)
      : handler_(handler),
        watch_(Clock::Real(), options.patience),
        tls_(!options.tls_key_pem.empty()) {}
  ~MicrohttpdServer() override { Stop(std::chrono::milliseconds(0)); }

  Status Run(const HttpOptions& options) {
    ASSIGN_OR_RETURN(const ListenSocket socket, Listen(options.host, options.port));
    port_ = socket.port;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_ITC;
    if (tls_) {
      flags |= MHD_USE_TLS;
    }
    // The watch closes one for each beyond its limit; until that one has gone there are more.
    const auto limit =
        static_cast<unsigned>(options.patience.max_connections + kClosingConnections);
    watch_.Start();
    MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, const_cast<char*>(options.tls_key_pem.c_str())},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, const_cast<char*>(options.tls_certificate_pem.c_str())},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>("NORMAL:-VERS-TLS1.0:-VERS-TLS1.1")},
        {MHD_OPTION_END, 0, nullptr}};
    MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, nullptr}};
    daemon_ = MHD_start_daemon(
        flags, 0, nullptr, nullptr, &MicrohttpdServer::OnAccess, this, MHD_OPTION_EXTERNAL_LOGGER,
        &MicrohttpdServer::OnLog, this,  // first: options log too
        MHD_OPTION_LISTEN_SOCKET, socket.fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory,
        MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        options.max_connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT,
        static_cast<unsigned>(options.idle_timeout.count()), MHD_OPTION_URI_LOG_CALLBACK,
        &MicrohttpdServer::OnTarget, this, MHD_OPTION_NOTIFY_COMPLETED,
        &MicrohttpdServer::OnCompleted, this, MHD_OPTION_NOTIFY_CONNECTION,
        &MicrohttpdServer::OnConnection, this, MHD_OPTION_THREAD_STACK_SIZE, size_t{512 * 1024},
        MHD_OPTION_ARRAY, tls_ ? tls_options : no_options, MHD_OPTION_END);
    if (!daemon_) {
      ::close(socket.fd);
      return tls_ ? InvalidArgumentError(
                        "cannot serve TLS, hint: --tls-cert and --tls-key must be a matching pair "
                        "in PEM form")
                  : ResourceExhaustedError("cannot start the HTTP server's threads");
    }
    return Status::Ok();
  }

  uint16_t port() const override { return port_; }
  unsigned connections() const override { return static_cast<unsigned>(watch_.connections()); }

  void Stop(std::chrono::milliseconds grace) override {
    MHD_Daemon* daemon = std::exchange(daemon_, nullptr);
    if (!daemon) {
      return;
    }
    stopping_ = true;
    const MHD_socket listening = MHD_quiesce_daemon(daemon);
    if (listening != MHD_INVALID_SOCKET) {
      ::close(listening);
    }
    (void)watch_.WaitUntilIdle(grace);  // what is left is cut off, as said
    MHD_stop_daemon(daemon);
  }

 private:
  static void OnLog(void*, const char*, va_list) {}  // peers that misbehave; answers tell them

  static void* OnTarget(void*, const char* target, MHD_Connection*) noexcept {
    try {
      auto conversation = std::make_unique<Conversation>();
      conversation->target = target;
      return conversation.release();
    } catch (...) {
      return nullptr;  // OnAccess ends the connection
    }
  }

  static void OnConnection(void* cls, MHD_Connection* connection, void** context,
                           MHD_ConnectionNotificationCode code) noexcept {
    auto& self = *static_cast<MicrohttpdServer*>(cls);
    try {
      if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = self.watch_.Opened(SocketOf(connection));
      } else if (*context) {
        self.watch_.Closed(static_cast<WatchedConnection*>(*context));
      }
    } catch (...) {  // no memory to watch it: OnAccess ends the connection
    }
  }

  static WatchedConnection* WatchedOf(MHD_Connection* connection) {
    const MHD_ConnectionInfo* info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? static_cast<WatchedConnection*>(info->socket_context) : nullptr;
  }

  static void OnCompleted(void* cls, MHD_Connection* connection, void** context,
                          MHD_RequestTerminationCode) {
    delete static_cast<Conversation*>(*context);
    *context = nullptr;
    if (WatchedConnection* watched = WatchedOf(connection)) {
      static_cast<MicrohttpdServer*>(cls)->watch_.RequestEnded(watched);
    }
  }

  static MHD_Result OnAccess(void* cls, MHD_Connection* connection, const char*, const char* method,
                             const char* version, const char* data, size_t* size,
                             void** context) noexcept {
    auto& self = *static_cast<MicrohttpdServer*>(cls);
    if (!*context) {
      return MHD_NO;
    }
    try {
      return self.Access(connection, method, version, data, size,
                         *static_cast<Conversation*>(*context));
    } catch (...) {  // out of memory: this connection ends, the server goes on
      return MHD_NO;
    }
  }

  MHD_Result Access(MHD_Connection* connection, const char* method, const char* version,
                    const char* data, size_t* size, Conversation& conversation) {
    if (!conversation.begun) {
      conversation.begun = true;
      conversation.watched = WatchedOf(connection);
      if (!conversation.watched) {
        return MHD_NO;
      }
      watch_.RequestBegan(conversation.watched);
      const MHD_Result begun = Begin(connection, method, version, conversation);
      Wait(conversation, 0);
      return begun;
    }
    conversation.watched->Working();
    const size_t received = *size;
    const MHD_Result result = Continue(connection, data, size, conversation);
    Wait(conversation, received);
    return result;
  }

  static void Wait(Conversation& conversation, size_t received) {
    if (conversation.answered) {
      conversation.watched->WaitingAfterSending(*conversation.answered);
    } else {
      conversation.watched->WaitingAfterReceiving(received);
    }
  }

  MHD_Result Continue(MHD_Connection* connection, const char* data, size_t* size,
                      Conversation& conversation) {
    if (*size > 0) {
      if (!conversation.refusal) {
        conversation.exchange->OnBody({reinterpret_cast<const uint8_t*>(data), *size});
      }
      *size = 0;
      return MHD_YES;
    }
    return Send(
        connection, conversation,
        conversation.refusal ? std::move(*conversation.refusal) : conversation.exchange->Finish());
  }

  MHD_Result Begin(MHD_Connection* connection, const char* method, const char* version,
                   Conversation& conversation) {
    Collector collector;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &CollectHeader, &collector);
    Request request;
    request.method = method;
    const size_t question = conversation.target.find('?');
    request.path = conversation.target.substr(0, question);
    if (question != std::string::npos) {
      request.query = conversation.target.substr(question + 1);
    }
    request.remote = AddressOf(connection);
    request.tls = tls_;
    const std::string length = collector.headers.Get("content-length");
    const auto lengths = std::count_if(
        collector.headers.items().begin(), collector.headers.items().end(),
        [](const auto& header) { return EqualsIgnoringCase(header.first, "content-length"); });
    const bool chunked = collector.headers.Has("transfer-encoding");
    const bool waits = EqualsIgnoringCase(collector.headers.Get("expect"), "100-continue");
    conversation.is_head = request.method == "HEAD";
    if (collector.bytes + conversation.target.size() > kMaxHeadBytes ||
        (chunked && !length.empty()) || lengths > 1) {  // two lengths: whose body is it?
      Response response;
      response.status = chunked || lengths > 1 ? 400 : 431;
      response.ending = Ending::kClose;
      return Send(connection, conversation, std::move(response));
    }
    request.headers = std::move(collector.headers);
    conversation.exchange = handler_.Begin(std::move(request));
    std::optional<Response> early = conversation.exchange->Early();
    if (!early) {
      return MHD_YES;  // libmicrohttpd says 100 to those who wait
    }
    const bool has_body = chunked || (!length.empty() && length != "0");
    const bool huge =
        chunked || length.size() > 9 || std::strtoull(length.c_str(), nullptr, 10) > kMaxDrainBytes;
    // Without a body, in the next call: libmicrohttpd closes connections answered in this one.
    // Who sends its body without waiting reads no answer before it has sent it, and would see a
    // closed connection instead. 1.0 clients wait for nothing.
    if (!has_body || (!waits && !huge && early->ending != Ending::kReset &&
                      std::strcmp(version, "HTTP/1.0") != 0)) {
      conversation.refusal = std::move(early);
      return MHD_YES;
    }
    return Send(connection, conversation, std::move(*early));
  }

  MHD_Result Send(MHD_Connection* connection, Conversation& conversation, Response response) {
    const int fd = SocketOf(connection);
    if (response.ending == Ending::kReset && !response.cut_after) {
      ResetConnection(fd);
      return MHD_NO;
    }
    conversation.exchange.reset();
    const bool plain = !response.stream && !response.cut_after && response.bytes_per_second == 0 &&
                       !(conversation.is_head && response.head_content_length);
    const int status = response.status;
    const bool close = response.ending != Ending::kNormal || stopping_;
    const Headers headers = std::move(response.headers);
    MHD_Response* answer = nullptr;
    conversation.answered = plain ? response.body.size() : 0;
    if (plain) {
      answer = MHD_create_response_from_buffer(
          response.body.size(), const_cast<char*>(response.body.data()), MHD_RESPMEM_MUST_COPY);
    } else {
      const uint64_t size = conversation.is_head && response.head_content_length
                                ? *response.head_content_length
                                : response.size();
      auto outgoing = std::make_unique<Outgoing>();
      outgoing->response = std::move(response);
      outgoing->fd = fd;
      outgoing->watched = conversation.watched;
      const size_t block = std::clamp<uint64_t>(size, 1, kBlockSize);
      answer = MHD_create_response_from_callback(size, block, &ReadAnswer, outgoing.get(),
                                                 &FreeOutgoing);
      if (answer) {
        (void)outgoing.release();  // FreeOutgoing has it now
      }
    }
    if (!answer) {
      return MHD_NO;
    }
    for (const auto& [name, value] : headers.items()) {
      // Refused: empty values and control characters, which no answer of ours should hold.
      (void)MHD_add_response_header(answer, name.c_str(), value.c_str());
    }
    if (close) {
      (void)MHD_add_response_header(answer, "Connection", "close");
    }
    const MHD_Result queued = MHD_queue_response(connection, static_cast<unsigned>(status), answer);
    MHD_destroy_response(answer);
    return queued;
  }

  Handler& handler_;
  ConnectionWatch watch_;
  const bool tls_;
  uint16_t port_ = 0;
  MHD_Daemon* daemon_ = nullptr;
  std::atomic<bool> stopping_{false};
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpOptions& options,
                                                      Handler& handler) {
  auto server = std::make_unique<MicrohttpdServer>(handler, options);
  RETURN_IF_ERROR(server->Run(options));
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace sqlite_s3::server
