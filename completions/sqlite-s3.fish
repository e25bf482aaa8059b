# fish completion of sqlite-s3-agent, sqlite-s3-restore and sqlite-s3-server. What there is to complete is
# what the program's own --help says, so it cannot be another version's.

# PROGRAM WORD... CURRENT: what there is beside files, a line each.
function __sqlite_s3_words
    set -l program $argv[1]
    set -l previous $argv[-2]
    set -l command
    for word in $argv[2..-2]
        if test $word = --
            return # the application's own follows
        end
        # The first word that is no option may be a subcommand.
        if string match -qr '^[a-z][^/.:]*$' -- $word
            set command $word
            break
        end
    end
    set -l help ($program $command --help 2>/dev/null)
    or return
    switch $previous
        case --log-format
            printf '%s\n' text json
            return
        case --log-level
            printf '%s\n' debug info warning error
            return
        case '--*'
            # "  --via TEXT:{pages,checkpoint}" names the values of the option itself.
            set -l values (string match -r -- "^ +(?:-[a-z],)?$previous .*[A-Z]+:\{([^}]*)\}" $help)
            if set -q values[2]
                string split , -- $values[2]
                return
            end
    end
    if string match -q -- '-*' $argv[-1]
        string match -rg -- '^ +(?:-[a-z],)?(--[a-z-]+)' $help | sort -u
    else if not set -q command[1]
        set -l at 0
        for line in $help
            if test "$line" = Subcommands:
                set at 1
            else if test -z "$line"
                set at 0
            else if test $at = 1
                string match -rg -- '^  ([a-z-]+) ' $line
            end
        end
    end
end

for program in sqlite-s3-agent sqlite-s3-restore sqlite-s3-server
    complete -c $program -a '(__sqlite_s3_words (commandline -opc) (commandline -ct))'
end
