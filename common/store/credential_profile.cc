#include "common/store/credential_profile.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/os/file.h"
#include "common/store/credential_services.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr int kMaxRoles = 5;  // of a chain of source_profile

struct Profiles {
  ProfileSections sections;  // the credentials file wins over the config file
  std::string config_path;
  std::string credentials_path;
};

std::string PathOf(const Environment& environment, const char* variable, const char* name) {
  if (auto path = environment(variable)) return *path;
  return environment("HOME").value_or("") + "/.aws/" + name;
}

Status Merge(const std::string& path, ProfileSections& into) {
  auto bytes = ReadFile(path, kMaxFileBytes);
  if (bytes.code() == StatusCode::kNotFound) {
    return Status::Ok();
  }
  if (!bytes.ok()) {
    return bytes.status().WithContext("profiles");
  }
  for (auto& [section, values] : ParseProfileFile(AsText(*bytes))) {
    for (auto& [key, value] : values) into[section][key] = value;
  }
  return Status::Ok();
}

Result<Profiles> Load(const Environment& environment) {
  Profiles out;
  out.config_path = PathOf(environment, "AWS_CONFIG_FILE", "config");
  out.credentials_path = PathOf(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  RETURN_IF_ERROR(Merge(out.config_path, out.sections));
  RETURN_IF_ERROR(Merge(out.credentials_path, out.sections));
  return out;
}

std::string NameOf(const CredentialChainOptions& options) {
  if (!options.profile.empty()) return options.profile;
  return options.environment("AWS_PROFILE").value_or("default");
}

// Code runs from these files: nobody but us and root may have written them.
Status CheckOwnership(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    return Status::Ok();  // not there, so nothing came from it
  }
  if ((info.st_uid != geteuid() && info.st_uid != 0) || (info.st_mode & 022) != 0) {
    return PermissionDeniedError("credential_process: '" + path +
                                 "' belongs to somebody else or others may write it, hint: chmod "
                                 "600 and chown it");
  }
  return Status::Ok();
}

class Resolver {
 public:
  Resolver(const CredentialChainOptions& options, const Profiles& profiles)
      : options_(options), profiles_(profiles) {}

  Result<Credentials> Resolve(const std::string& name, int roles) {
    auto found = profiles_.sections.find(name);
    if (found == profiles_.sections.end()) {
      return PermissionDeniedError("profile '" + name + "' is in neither '" +
                                   profiles_.config_path + "' nor '" + profiles_.credentials_path +
                                   "'");
    }
    const auto& values = found->second;
    auto value = [&](const char* key) {
      auto entry = values.find(key);
      return entry == values.end() ? std::string() : entry->second;
    };
    const std::string context = "profile '" + name + "'";
    // A profile that is its own source: its role is assumed with its own keys.
    const bool own_keys = roles > 0 && value("source_profile") == name;
    if (!value("role_arn").empty() && !own_keys) {
      if (roles >= kMaxRoles) {
        return InvalidArgumentError(context + ": its roles go round in a circle");
      }
      auto assumed = Role(name, value, roles);
      return assumed.ok() ? std::move(assumed) : assumed.status().WithContext(context);
    }
    if (!value("aws_access_key_id").empty() || !value("aws_secret_access_key").empty()) {
      Credentials out{value("aws_access_key_id"), value("aws_secret_access_key"),
                      value("aws_session_token"), std::nullopt, context};
      if (out.access_key_id.empty() || out.secret_access_key.empty()) {
        return PermissionDeniedError(context +
                                     " has only one of aws_access_key_id, aws_secret_access_key");
      }
      return out;
    }
    if (!value("credential_process").empty()) {
      RETURN_IF_ERROR(CheckOwnership(profiles_.config_path));
      RETURN_IF_ERROR(CheckOwnership(profiles_.credentials_path));
      auto words = SplitCommandLine(value("credential_process"));
      if (!words.ok()) return words.status().WithContext(context);
      auto output = RunCredentialProcess(*words);
      if (!output.ok()) return output.status().WithContext(context);
      return ParseCredentialDocument(*output, "the credential_process of " + context);
    }
    return NotFoundError(context + " has no credentials");
  }

 private:
  template <typename Value>
  Result<Credentials> Role(const std::string& name, const Value& value, int roles) {
    const AssumedRole role{value("role_arn"), value("role_session_name"), value("external_id"),
                           value("duration_seconds")};
    if (!value("web_identity_token_file").empty()) {
      return AssumeRoleWithWebIdentity(options_, role, value("web_identity_token_file"));
    }
    const std::string source = value("source_profile");
    const std::string kind = value("credential_source");
    Result<Credentials> base = NotFoundError(
        "role_arn needs source_profile, credential_source or web_identity_token_file");
    if (!source.empty()) {
      base = Resolve(source, source == name ? 1 : roles + 1);
    } else if (kind == "Environment") {
      base = EnvironmentCredentials(options_.environment, "AWS");
    } else if (kind == "EcsContainer") {
      base = ContainerCredentials(options_);
    } else if (kind == "Ec2InstanceMetadata") {
      base = MachineCredentials(options_);
    }
    if (!base.ok()) {
      return base.code() == StatusCode::kNotFound ? PermissionDeniedError(base.status().message())
                                                  : base.status();
    }
    return AssumeRole(options_, role, *base);
  }

  const CredentialChainOptions& options_;
  const Profiles& profiles_;
};

}  // namespace

ProfileSections ParseProfileFile(std::string_view text) {
  auto trimmed = [](std::string_view part) {
    const char* blanks = " \t\r";
    size_t first = part.find_first_not_of(blanks);
    if (first == std::string_view::npos) return std::string_view();
    return part.substr(first, part.find_last_not_of(blanks) - first + 1);
  };
  ProfileSections out;
  std::map<std::string, std::string>* section = nullptr;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view raw = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    std::string_view line = trimmed(raw);
    // An indented line belongs to a nested table ("s3 =" and what is below it): not ours.
    if (line.empty() || line.front() == '#' || line.front() == ';' || raw.front() == ' ' ||
        raw.front() == '\t') {
      continue;
    }
    if (line.front() == '[') {
      std::string_view name = trimmed(line.substr(1, line.find(']') - 1));
      if (name.starts_with("profile ")) name = trimmed(name.substr(8));
      section = &out[std::string(name)];
      continue;
    }
    size_t equals = line.find('=');
    if (section != nullptr && equals != std::string_view::npos) {
      (*section)[std::string(trimmed(line.substr(0, equals)))] = trimmed(line.substr(equals + 1));
    }
  }
  return out;
}

Result<Credentials> ProfileCredentials(const CredentialChainOptions& options) {
  const std::string name = NameOf(options);
  const bool named = !options.profile.empty() || options.environment("AWS_PROFILE").has_value();
  ASSIGN_OR_RETURN(const Profiles profiles, Load(options.environment));
  if (!named && profiles.sections.count(name) == 0) {
    return NotFoundError("there is no default profile");
  }
  auto found = Resolver(options, profiles).Resolve(name, 0);
  if (named && found.code() == StatusCode::kNotFound) {
    return PermissionDeniedError(found.status().message());
  }
  return found;
}

std::string ProfileRegion(const CredentialChainOptions& options) {
  auto profiles = Load(options.environment);
  if (!profiles.ok()) return {};  // said when credentials are asked for
  auto found = profiles->sections.find(NameOf(options));
  if (found == profiles->sections.end()) return {};
  auto region = found->second.find("region");
  return region == found->second.end() ? std::string() : region->second;
}

}  // namespace sqlite_s3
