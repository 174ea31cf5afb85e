// Threads that share the chunks of a job.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

// Runs chunks of a job on the caller and on as many helpers as asked for. A helper that is late does
// not delay anyone: what counts is that all chunks are done. No thread spins for longer than SPINS.
class Pool {
    std::vector<std::thread> helpers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> state_{0};  // generation and number of chunks not yet taken
    std::atomic<int> unfinished_{0};
    std::function<void(int, int)> job_;
    std::atomic<bool> stopping_{false};
    pid_t process_ = getpid();
    static constexpr int SPINS = 2000;

    bool take(int worker) {
        uint64_t state = state_.load(std::memory_order_acquire);
        while (uint32_t(state) > 0)
            if (state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel)) {
                job_(int(uint32_t(state)) - 1, worker);
                unfinished_.fetch_sub(1, std::memory_order_acq_rel);
                return true;
            }
        return false;
    }

    void help(int worker) {
        for (;;) {
            for (int n = 0; n < SPINS; ++n)
                if (take(worker)) n = 0;
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return stopping_ || uint32_t(state_.load()) > 0; });
            if (stopping_) return;
        }
    }

    // After a fork the helpers are the parent's: the child has only their names.
    void forget_of_parent() {
        if (process_ == getpid()) return;
        for (auto& helper : helpers_) helper.detach();
        helpers_.clear();
        process_ = getpid();
    }

  public:
    ~Pool() {
        forget_of_parent();
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (auto& helper : helpers_) helper.join();
    }

    // How many workers there may be in a run; the caller is worker 0.
    int workers(int threads) const { return std::max(threads, int(helpers_.size()) + 1); }

    // Calls job(chunk, worker) for each chunk.
    void run(int chunks, int threads, const std::function<void(int, int)>& job) {
        if (threads <= 1 || chunks < 4) {
            for (int n = 0; n < chunks; ++n) job(n, 0);
            return;
        }
        forget_of_parent();
        for (int worker = int(helpers_.size()) + 1; worker < threads; ++worker)
            helpers_.emplace_back([this, worker] { help(worker); });
        job_ = job;
        unfinished_.store(chunks);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            const uint64_t generation = (state_.load() >> 32) + 1;
            state_.store(generation << 32 | uint32_t(chunks), std::memory_order_release);
        }
        wake_.notify_all();
        while (take(0)) {
        }
        for (int n = 0; unfinished_.load(std::memory_order_acquire) > 0; ++n)
            if (n > SPINS) std::this_thread::yield();
    }
};
