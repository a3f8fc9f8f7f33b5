module kubedrill/components/kubedrill

go 1.26.0
