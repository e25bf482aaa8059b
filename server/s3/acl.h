#pragma once
// What access control lists mean here. Who may do what is in the server's configuration; lists may
// add reading for everybody where the operator allows that (ServiceOptions::public_acls), and where
// he does not, a list that says so is refused: what is answered is what is so.

#include <optional>
#include <string>

#include "server/auth/s3_error.h"
#include "server/s3/call.h"

namespace sqlite_s3::server {

// The canned list that the headers name; empty when they name none. InvalidArgument for one that
// does not exist, NotImplemented for grants to single users, and CheckAcl's.
S3Result<std::string> ReadCannedAcl(const Call& call);
// AccessDenied for a list that this server does not let have its effect.
std::optional<S3Error> CheckAcl(const Call& call, const std::string& canned);
// Whether the list of the object, or of the bucket for its listings, lets the caller read who may
// not otherwise. What is not there is granted to who may list the bucket: he is told so.
bool MayReadByAcl(const Call& call);

}  // namespace sqlite_s3::server
