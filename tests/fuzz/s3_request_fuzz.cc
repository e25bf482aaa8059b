// Any bytes as a request to the S3 server: a request line and headers as text, an empty line, the
// body. Signatures, chunks, forms, policies and documents of it.
#include <string>
#include <string_view>

#include "server/auth/authenticate.h"
#include "server/auth/aws_chunked.h"
#include "server/auth/post_policy.h"
#include "server/s3/call.h"
#include "server/s3/form_parser.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

// 2026-01-02T03:04:05Z, the time that the seeds are signed for.
constexpr int64_t kNowMicros = 1'767'323'045'000'000;

std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return TrimSpaces(line);
}

Request ParseHead(std::string_view& text) {
  Request request;
  std::string_view line = TakeLine(text);
  const size_t space = line.find(' ');
  request.method = line.substr(0, space);
  line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  const size_t mark = line.find('?');
  request.path = line.substr(0, mark);
  request.query = mark == std::string_view::npos ? "" : line.substr(mark + 1);
  for (line = TakeLine(text); !line.empty(); line = TakeLine(text)) {
    const size_t colon = line.find(':');
    request.headers.Add(std::string(line.substr(0, colon)),
                        colon == std::string_view::npos
                            ? std::string()
                            : std::string(TrimSpaces(line.substr(colon + 1))));
  }
  return request;
}

// In pieces, as a network brings them.
template <typename Consumer>
void FeedInPieces(Consumer& consumer, ByteSpan body) {
  for (size_t piece = 1; !body.empty(); piece = piece * 3 + 1) {
    const size_t n = std::min(piece, body.size());
    consumer.Feed(body.first(n));
    body = body.subspan(n);
  }
}

void TryForm(const Request& request, ByteSpan body, const Users& users) {
  auto boundary = FormParser::BoundaryOf(request.headers.Get("content-type"));
  if (!boundary) {
    return;
  }
  FormFields fields;
  FormParser parser(*boundary, {[&](std::string name, std::string value) {
                                  fields[std::move(name)] = std::move(value);
                                },
                                [](const std::string&, const std::string&) {}, [](ByteSpan) {}});
  FeedInPieces(parser, body);
  (void)parser.Finish();
  (void)CheckPostPolicy(fields, users, kNowMicros);
}

void TryRequest(std::string_view text) {
  static const Users users({{"owner", "AKIAEXAMPLE", "secret", false, {}}});
  const Request request = ParseHead(text);
  const ByteSpan body = AsBytes(text);
  auto query = Query::Parse(request.query);
  if (!query) {
    return;
  }
  (void)Route(request, *query, true, request.path.size() > 2);
  auto identity = Authenticate(request, *query, users, "", kNowMicros);
  Identity assumed;  // chunks must hold whatever the signature says
  if (identity.ok()) {
    assumed = *identity;
  }
  for (PayloadKind kind : {PayloadKind::kChunked, PayloadKind::kChunkedTrailer,
                           PayloadKind::kUnsignedChunkedTrailer}) {
    assumed.payload = kind;
    AwsChunkedDecoder decoder(assumed, [](ByteSpan) {});
    FeedInPieces(decoder, body);
    (void)decoder.Finish();
  }
  TryForm(request, body, users);
  for (std::string_view root : {"Delete", "CompleteMultipartUpload", "Tagging"}) {
    (void)ParseDocument(std::string(text), root);
  }
  (void)ParseAnyDate(request.headers.Get("date"));
}

}  // namespace
}  // namespace sqlite_s3::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sqlite_s3::server::TryRequest(sqlite_s3::AsText({data, size}));
  return 0;
}
