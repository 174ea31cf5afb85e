// Threads that share the chunks of a job.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

// Runs chunks of a job on the caller and on as many helpers as asked for. A helper that is late does
// not delay anyone: what counts is that all chunks are done. No thread spins for longer than SPINS.
// A chunk that finds no memory does not keep others from their work; then it is the caller who is told.
class Pool {
    // What the helpers see.
    struct Shared {
        std::vector<std::thread> helpers;
        std::mutex mutex;
        std::condition_variable wake;
        std::atomic<uint64_t> state{0};  // generation and number of chunks not yet taken
        std::atomic<int> unfinished{0};
        std::atomic<bool> failed{false};
        std::function<void(int, int)> job;
        std::atomic<bool> stopping{false};

        bool take(int worker) {
            uint64_t now = state.load(std::memory_order_acquire);
            while (uint32_t(now) > 0)
                if (state.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel)) {
                    try {
                        job(int(uint32_t(now)) - 1, worker);
                    } catch (const std::bad_alloc&) {
                        failed = true;
                    }
                    unfinished.fetch_sub(1, std::memory_order_acq_rel);
                    return true;
                }
            return false;
        }

        void help(int worker) {
            for (;;) {
                for (int n = 0; n < SPINS; ++n)
                    if (take(worker)) n = 0;
                std::unique_lock<std::mutex> lock(mutex);
                wake.wait(lock, [&] { return stopping || uint32_t(state.load()) > 0; });
                if (stopping) return;
            }
        }
    };

    static constexpr int SPINS = 2000;
    Shared* shared_ = new Shared;
    pid_t process_ = getpid();

    // After a fork the helpers are the parent's, and so are those who wait for the condition: the
    // child can neither join nor wake nor destroy them, and leaves them behind.
    void forget_of_parent() {
        if (process_ == getpid()) return;
        shared_ = new Shared;
        process_ = getpid();
    }

    // As many helpers as asked for, or as the system gives.
    void hire(int threads) {
        Shared& all = *shared_;
        try {
            for (int worker = int(all.helpers.size()) + 1; worker < threads; ++worker)
                all.helpers.emplace_back([&all, worker] { all.help(worker); });
        } catch (const std::exception&) {  // it gives no more of them
        }
    }

  public:
    Pool() = default;
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    ~Pool() {
        if (process_ != getpid()) return;
        {
            std::lock_guard<std::mutex> lock(shared_->mutex);
            shared_->stopping = true;
        }
        shared_->wake.notify_all();
        for (auto& helper : shared_->helpers) helper.join();
        delete shared_;
    }

    // How many workers there may be in a run; the caller is worker 0.
    int workers(int threads) {
        forget_of_parent();
        return std::max(threads, int(shared_->helpers.size()) + 1);
    }

    // Calls job(chunk, worker) for each chunk.
    void run(int chunks, int threads, const std::function<void(int, int)>& job) {
        if (threads <= 1 || chunks < 4) {
            for (int n = 0; n < chunks; ++n) job(n, 0);
            return;
        }
        forget_of_parent();
        hire(threads);
        Shared& all = *shared_;
        all.job = job;
        all.failed = false;
        all.unfinished.store(chunks);
        {
            std::lock_guard<std::mutex> lock(all.mutex);
            const uint64_t generation = (all.state.load() >> 32) + 1;
            all.state.store(generation << 32 | uint32_t(chunks), std::memory_order_release);
        }
        all.wake.notify_all();
        while (all.take(0)) {
        }
        for (int n = 0; all.unfinished.load(std::memory_order_acquire) > 0; ++n)
            if (n > SPINS) std::this_thread::yield();
        if (all.failed) throw std::bad_alloc();
    }
};
