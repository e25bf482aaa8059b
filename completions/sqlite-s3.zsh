#compdef sqlite-s3-agent sqlite-s3-restore sqlite-s3-server
# zsh completion of sqlite-s3-agent, sqlite-s3-restore and sqlite-s3-server. What there is to complete is
# what the program's own --help says, so it cannot be another version's.

# PROGRAM WORD... CURRENT: what there is beside files, a line each.
_sqlite_s3_words() {
  local program=$1 previous=$@[-2] current=$@[-1] word help values
  local -a command
  for word in "${(@)@[2,-2]}"; do
    # The first word that is no option may be a subcommand.
    if [[ $word == [a-z]* && $word != *[/.:]* ]]; then
      command=($word)
      break
    fi
  done
  help=$($program $command --help 2>/dev/null) || return
  case $previous in
    --log-format) print -l text json; return ;;
    --log-level) print -l debug info warning error; return ;;
  esac
  # "  --via TEXT:{pages,checkpoint}" names the values of the option itself.
  if [[ $previous =~ '^--[a-z-]+$' ]]; then
    values=$(sed -nE "s/^ +(-[a-z],)?${previous} .*[A-Z]+:\{([^}]*)\}.*/\2/p" <<<$help)
    if [[ -n $values ]]; then
      print -l ${(s:,:)values}
      return
    fi
  fi
  if [[ $current == -* ]]; then
    grep -oE '^ +(-[a-z],)?--[a-z-]+' <<<$help | grep -oE -- '--[a-z-]+' | sort -u
  elif (( ! $#command )); then
    sed -nE '/^Subcommands:/,/^$/s/^  ([a-z-]+) .*/\1/p' <<<$help
  fi
}

_sqlite_s3() {
  local dashes=${words[(i)--]}
  if (( dashes < CURRENT )); then  # the application's own
    shift $dashes words
    (( CURRENT -= dashes ))
    _normal
    return
  fi
  local -a offered=(${(f)"$(_sqlite_s3_words ${words[1,CURRENT]})"})
  compadd -a offered
  [[ $words[CURRENT] == -* ]] || _files
}

# Read as a completion function; a script may read it for what it defines.
if (( ${+compstate} )); then
  _sqlite_s3 "$@"
fi
